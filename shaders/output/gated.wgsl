#import bias
#import activation
// y = activate(gate)·up: the middle of a gated feed-forward layer (arXiv 2002.05202). The rows are all gates, then all ups;
// quad q is gates 2q and 2q + 1 and their ups. The bias is that of the rows.
@group(0) @binding(5) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
fn n_quads() -> u32 { return (params.n_rows / 2u + 1u) / 2u; }
fn rows_of(quad: u32) -> vec4<u32> {
    let half = params.n_rows / 2u;
    let gates = min(vec2<u32>(2u * quad, 2u * quad + 1u), vec2<u32>(half - 1u));
    return vec4<u32>(gates, gates + half);
}
fn store(quad: u32, column: u32, sums: vec4<f32>) {
    let rows = rows_of(quad);
    let at = column * params.y_stride + 2u * quad;
    y[at] = activate(add_bias(sums.x, rows.x)) * add_bias(sums.z, rows.z);
    if (2u * quad + 1u < params.n_rows / 2u) {
        y[at + 1u] = activate(add_bias(sums.y, rows.y)) * add_bias(sums.w, rows.w);
    }
}
