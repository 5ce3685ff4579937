#import grid
#import state
#import team
#import kv
#import span
// y[column][head] = softmax(q·Kᵀ·scale)·V over the column's span. A team per (column, head); its lanes take positions in turn,
// each with its own online softmax (arXiv 1805.02867), merged at the end. Grouped heads share a kv head (arXiv 2305.13245).
struct Params {
    n_heads: u32,
    group: u32,       // query heads per kv head
    context_len: u32, // positions per kv head in the cache
    q_stride: u32,    // floats per column of q
    y_stride: u32,    // floats per column of y
    scale: f32,
    pad0: u32,
    pad1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k: array<KvQuad>; // (kv head, position, HEAD_DIM)
@group(0) @binding(4) var<storage, read> v: array<KvQuad>;
@group(0) @binding(5) var<storage, read> spans: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;

const QUADS: u32 = HEAD_DIM / 4u;

@compute @workgroup_size(WG)
fn main(inv: Invocation) {
    let first = linear_group(inv.group, inv.n_groups) * ITEMS;
    for (var i = team(inv); i < ITEMS; i += n_teams(inv)) {
        let item = first + i;
        let head = item % params.n_heads;
        let column = min(item / params.n_heads, state.n_tokens - 1u);
        let live = item / params.n_heads < state.n_tokens;
        // Columns past the step see nothing and store nothing.
        let seen = select(vec2<u32>(0u), span(column), live);
        let cache = (head / params.group) * params.context_len * QUADS;
        let q_base = column * (params.q_stride / 4u) + head * QUADS;
        var query: array<vec4<f32>, QUADS>;
        var sum: array<vec4<f32>, QUADS>;
        for (var d = 0u; d < QUADS; d++) {
            query[d] = q[q_base + d] * params.scale;
            sum[d] = vec4<f32>(0.0);
        }
        var best = -1e30;
        var total = 0.0;
        for (var p = seen.x + lane(inv); p < seen.y; p += n_lanes(inv)) {
            let at = cache + p * QUADS;
            var score = 0.0;
            for (var d = 0u; d < QUADS; d++) { score += dot(query[d], unpack_quad(k[at + d])); }
            let top = max(best, score);
            let keep = exp(best - top);
            let e = exp(score - top);
            total = total * keep + e;
            for (var d = 0u; d < QUADS; d++) { sum[d] = sum[d] * keep + e * unpack_quad(v[at + d]); }
            best = top;
        }
        let factor = exp(best - team_max(inv, best));
        let scale = factor / team_sum(inv, total * factor);
        for (var d = 0u; d < QUADS; d++) {
            let value = team_sum4(inv, sum[d] * scale);
            if (live && lane(inv) == 0u) { y[column * (params.y_stride / 4u) + head * QUADS + d] = value; }
        }
    }
}
