// y = W·(x·g / rms(x)): the weight g goes in while loading, 1/rms(x) comes out of the sum. params.norm: g's start in
// `vectors`, in vec4s. Every team sums x² anew: x is small and in cache.
fn load_x(base: u32, k4: u32) -> vec4<f32> { return x[base + k4] * vectors[params.norm + k4]; }
fn x_scale(inv: Invocation, base: u32) -> f32 {
    var sum = 0.0;
    for (var k4 = lane(inv); k4 < params.granules * 8u; k4 += n_lanes(inv)) {
        let v = x[base + k4];
        sum += dot(v, v);
    }
    return inverseSqrt(team_sum(inv, sum) / f32(params.n_cols) + params.eps);
}
