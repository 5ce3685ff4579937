#import head_moments
// x·g / sqrt(mean(x²) + eps)
fn moments_of(inv: Invocation, base: u32, head: u32) -> vec2<f32> {
    let among = normed_among(min(head, params.n_heads + params.n_kv_heads - 1u));
    let sums = sums_of(inv, base + among.x, among.y, 0.0);
    return vec2<f32>(0.0, inverseSqrt(sums.y / f32(among.y) + params.eps));
}
