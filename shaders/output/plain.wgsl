#import bias
#import activation
#import residual
// y = activate(W·x + bias) + residual. Quad q is rows 4q to 4q + 3; rows past the last are padding and stay 0.
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;
// Where a quad's values go, and what all columns add to them.
struct Target { at: u32, bias: vec4<f32>, is_row: vec4<bool> }
fn target_of(quad: u32) -> Target {
    let at = params.first_row / 4u + quad;
    let rows = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
    return Target(at, bias4(at), rows < vec4<u32>(params.n_rows));
}
fn store(to: Target, column: u32, sums: vec4<f32>) {
    let at = column * (params.y_stride / 4u) + to.at;
    let v = begun(sums + to.bias, at);
    let activated = vec4<f32>(activate(v.x), activate(v.y), activate(v.z), activate(v.w));
    y[at] = select(vec4<f32>(0.0), add_residual(activated, at), to.is_row);
}
