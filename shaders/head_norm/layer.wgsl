#import head_moments
// (x − mean)·g / sqrt(var + eps)
fn moments_of(inv: Invocation, base: u32, head: u32) -> vec2<f32> {
    let with = normed_with(min(head, params.n_heads + params.n_kv_heads - 1u));
    let mean = sums_of(inv, base + with.x, with.y, 0.0).x / f32(with.y);
    let squares = sums_of(inv, base + with.x, with.y, mean).y;
    return vec2<f32>(mean, inverseSqrt(squares / f32(with.y) + params.eps));
}
