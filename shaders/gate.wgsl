#import grid
#import state
#import state_to_read
#import activation
// y[column][i] = activate(gate[i])·up[i], where a column of x holds gate, then up: the middle of a gated feed-forward layer
// (arXiv 2002.05202). One thread per vec4.
struct Params {
    n_cols: u32,   // values of gate, of up and of y
    x_stride: u32, // floats per column of x
    y_stride: u32, // floats per column of y
    pad0: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, n_groups) * WG + local;
    let column = i / params.n_cols;
    let k = i % params.n_cols;
    if (column >= state.n_tokens) { return; }
    let base = column * params.x_stride;
    y[column * params.y_stride + k] = activate(x[base + k]) * x[base + params.n_cols + k];
}
