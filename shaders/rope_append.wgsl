#import grid
#import state
#import state_to_read
#import team
#import kv
#import rope
#import columns
#import append
#import head_norm
// Norms and rotates q and k of every column, writes q to its own buffer and appends k and v to the cache at the columns' positions.
// x holds q, k, v of a column one after the other: (n_tokens, q heads + 2·kv heads, HEAD_DIM). The cache is
// (slot, kv head, position, HEAD_DIM). A team per head of a column.
struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    context_len: u32,
    x_stride: u32,    // floats per column of x
    q_stride: u32,    // floats per column of q
    q_norm: u32,      // of the norm of q: its weight's start in `vectors`, in vec4s
    k_norm: u32,      // of k
    norm_stride: u32, // vec4s from one head's weight to the next; 0 where heads share one
    eps: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> angles: array<vec2<f32>>; // (context_len, ROTATED/2): cos, sin
@group(0) @binding(5) var<storage, read_write> q: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> k: array<KvPair>;
@group(0) @binding(7) var<storage, read_write> v: array<KvPair>;

const QUADS: u32 = HEAD_DIM / 4u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * ITEMS;
    let heads = params.n_heads + 2u * params.n_kv_heads;
    let n_items = state.n_tokens * heads;
    for (var i = team(inv); i < ITEMS; i += n_teams(inv)) {
        if (first + i >= n_items) { break; }
        let head = (first + i) % heads;
        let column = (first + i) / heads;
        let base = column * (params.x_stride / 2u);
        let moments = moments_of(inv, base, head);
        for (var t = lane(inv); t < QUADS; t += n_lanes(inv)) {
            let pairs = quad_values(t).xz / 2u;
            let at = base + head * (HEAD_DIM / 2u) + pairs;
            append(head, t, column, normed(vec4<f32>(x[at.x], x[at.y]), moments, head, pairs));
        }
    }
}
