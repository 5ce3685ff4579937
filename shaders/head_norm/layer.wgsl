#import head_moments
// (x − mean)·g / sqrt(var + eps)
fn moments_of(inv: Invocation, base: u32, head: u32) -> vec2<f32> {
    let among = normed_among(min(head, params.n_heads + params.n_kv_heads - 1u));
    let mean = sums_of(inv, base + among.x, among.y, 0.0).x / f32(among.y);
    let squares = sums_of(inv, base + among.x, among.y, mean).y;
    return vec2<f32>(mean, inverseSqrt(squares / f32(among.y) + params.eps));
}
