#import grid
#import state
#import state_to_read
#import kv
#import rope
#import columns
#import append
// Rotates q and k of every column, writes q to its own buffer and appends k and v to the cache at the columns' positions.
// x holds q, k, v of a column one after the other: (n_tokens, q heads + 2·kv heads, HEAD_DIM). The cache is
// (slot, kv head, position, HEAD_DIM). One thread per four values that rotate together.
struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    context_len: u32,
    x_stride: u32, // floats per column of x
    q_stride: u32, // floats per column of q
    pad0: u32,
    pad1: u32,
    pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> angles: array<vec2<f32>>; // (context_len, HEAD_DIM/2): cos, sin
@group(0) @binding(4) var<storage, read_write> q: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> k: array<KvPair>;
@group(0) @binding(6) var<storage, read_write> v: array<KvPair>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    const QUADS = HEAD_DIM / 4u;
    let i = linear_group(group, n_groups) * WG + local;
    let heads = params.n_heads + 2u * params.n_kv_heads;
    let t = i % QUADS;
    let head = (i / QUADS) % heads;
    let column = i / (QUADS * heads);
    if (column >= state.n_tokens) { return; }
    let at = vec4<u32>(column * params.x_stride + head * HEAD_DIM) + quad_values(t);
    append(head, t, column, vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]));
}
