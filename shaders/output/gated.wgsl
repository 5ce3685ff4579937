#import bias
#import activation
// y = activate(gate)·up: the middle of a gated feed-forward layer (arXiv 2002.05202). Quad q is gates 2q and
// 2q + 1 and their ups. The bias holds all gates, then all ups.
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> y: array<vec2<f32>>;
// Where a quad's values go, in pairs, and what all columns add to them.
struct Target { at: u32, bias: vec4<f32> }
fn target_of(quad: u32) -> Target {
    let at = params.first_row / 4u + quad;
    return Target(at, vec4<f32>(bias2(at), bias2(params.n_gates / 2u + at)));
}
fn store(to: Target, column: u32, sums: vec4<f32>) {
    let v = sums + to.bias;
    y[column * (params.y_stride / 2u) + to.at] = vec2<f32>(activate(v.x), activate(v.y)) * v.zw;
}
