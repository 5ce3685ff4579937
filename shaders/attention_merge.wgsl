#import grid
#import state
#import state_to_read
// y[column][head] from the parts of a split span: Σ sumᵢ·exp(maxᵢ − max) / Σ totalᵢ·exp(maxᵢ − max). One thread per four values.
struct Params {
    n_heads: u32,
    y_stride: u32, // floats per column of y
    pad0: u32,
    pad1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>; // (column, head, split): sums, then (max, total, 0, 0)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

const QUADS: u32 = HEAD_DIM / 4u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, n_groups) * WG + local;
    let d = i % QUADS;
    let head = (i / QUADS) % params.n_heads;
    let column = i / (QUADS * params.n_heads);
    if (column >= state.n_tokens) { return; }
    let first = (column * params.n_heads + head) * N_SPLITS;
    var best = -1e30;
    for (var s = 0u; s < N_SPLITS; s++) { best = max(best, parts[(first + s) * (QUADS + 1u) + QUADS].x); }
    var sum = vec4<f32>(0.0);
    var total = 0.0;
    for (var s = 0u; s < N_SPLITS; s++) {
        let part = (first + s) * (QUADS + 1u);
        let factor = exp(parts[part + QUADS].x - best);
        sum += parts[part + d] * factor;
        total += parts[part + QUADS].y * factor;
    }
    y[column * (params.y_stride / 4u) + head * QUADS + d] = sum / total;
}
