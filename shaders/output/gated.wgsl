#import bias
#import activation
// y = activate(gate)·up: the middle of a gated feed-forward layer (arXiv 2002.05202). Quad q is gates 2q and
// 2q + 1 and their ups. The bias holds all gates, then all ups.
@group(0) @binding(5) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
fn store(quad: u32, column: u32, sums: vec4<f32>) {
    let gate = params.first_row / 2u + 2u * quad;
    let up = params.n_gates + gate;
    let at = column * params.y_stride + gate;
    y[at] = activate(add_bias(sums.x, gate)) * add_bias(sums.z, up);
    y[at + 1u] = activate(add_bias(sums.y, gate + 1u)) * add_bias(sums.w, up + 1u);
}
