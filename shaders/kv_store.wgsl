#import grid
#import state
#import state_to_read
#import team
#import columns
#import cache_row
// Keys and values of a step into a cache of bytes (kv/q8): each row, the values of a head at a position, as 127ths of its largest
// magnitude. A team per head of a column, for its k and its v.
struct Params {
    n_kv_heads: u32,
    from_len: u32,    // columns per head of what is staged
    context_len: u32, // positions per kv head in the cache
    scales: u32,      // words before the cache's scales
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> from_k: array<vec4<f32>>; // (kv head, from_len, HEAD_DIM)
@group(0) @binding(3) var<storage, read> from_v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> k: array<u32>; // (slot, kv head, context_len, HEAD_DIM) bytes, then scales
@group(0) @binding(5) var<storage, read_write> v: array<u32>;

const QUADS: u32 = HEAD_DIM / 4u;

fn largest(q: vec4<f32>) -> f32 {
    let pairs = max(abs(q.xy), abs(q.zw));
    return max(pairs.x, pairs.y);
}
fn packed(q: vec4<f32>, scale: f32) -> u32 {
    return pack4xI8(vec4<i32>(round(q / max(scale, 1e-30))));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * ITEMS;
    let n_items = state.n_tokens * params.n_kv_heads;
    for (var i = team(inv); i < ITEMS; i += n_teams(inv)) {
        if (first + i >= n_items) { break; }
        let head = (first + i) % params.n_kv_heads;
        let column = (first + i) / params.n_kv_heads;
        let source = (head * params.from_len + column) * QUADS;
        var most = vec4<f32>(0.0);
        for (var t = lane(inv); t < QUADS; t += n_lanes(inv)) {
            most = max(most, vec4<f32>(largest(from_k[source + t]), largest(from_v[source + t]), 0.0, 0.0));
        }
        let scale = team_max4(inv, most) / 127.0;
        let row = row_of(head, column, position_of(column));
        for (var t = lane(inv); t < QUADS; t += n_lanes(inv)) {
            k[row * QUADS + t] = packed(from_k[source + t], scale.x);
            v[row * QUADS + t] = packed(from_v[source + t], scale.y);
        }
        if (lane(inv) == 0u) {
            k[params.scales + row] = bitcast<u32>(scale.x);
            v[params.scales + row] = bitcast<u32>(scale.y);
        }
    }
}
