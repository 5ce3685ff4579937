#import grid
#import state
#import state_to_read
#import team
#import share
#import kv
#import columns
#import span
#import score
// y[column][head] = softmax(q·Kᵀ·scale)·V over the column's span, as in flash attention (arXiv 2205.14135): K and V are read once for
// ROWS queries, which are neighbouring heads of one kv head (arXiv 2305.13245), then columns that share a slot. A team takes n_lanes
// positions at a time: first a lane is a position (scores), then a lane is some values of the head (V), in SETS of lanes that take
// positions by turns where a head has fewer quads than a team has lanes. A long span is split every SPLIT positions, unless that is
// 0; its parts go to y as sums, maxima and totals, for attention_merge.
struct Params {
    n_kv_heads: u32,
    group: u32,       // query heads per kv head
    context_len: u32, // positions per kv head in the cache, a ring where RING is 1
    q_stride: u32,    // floats per column of q
    y_stride: u32,    // floats per column of y
    scale: f32,
    n_splits: u32,
    window: u32,      // positions that a query sees, itself included
    softcap: f32,
    scales: u32,      // words before the scales of a cache of bytes

    pad1: u32,
    pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k: array<KvQuad>; // (slot, kv head, position, HEAD_DIM)
@group(0) @binding(4) var<storage, read> v: array<KvQuad>;
@group(0) @binding(5) var<storage, read> spans: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read> biases: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

alias Value = vec4<f32>; // what lanes share
const QUADS: u32 = HEAD_DIM / 4u;
const NOTHING: f32 = -1e30;

// What a query sees: positions begin..end of the text that begins at `text`.
struct Span { text: u32, begin: u32, end: u32 }

// Where a position stands in the cache, and the `j`th after one that stands at `first`, less than a ring away.
fn cell(position: u32) -> u32 {
    if (RING == 1u) { return position % params.context_len; }
    return position;
}
fn cell_after(first: u32, j: u32) -> u32 {
    let next = first + j;
    if (RING == 1u && next >= params.context_len) { return next - params.context_len; }
    return next;
}

// The span of a query, or nothing past the step; the part of it that belongs to `split`.
fn seen_by(column: u32, split: u32) -> Span {
    if (column >= state.n_tokens) { return Span(0u, 0u, 0u); }
    let seen = span(column);
    if (SPLIT == 0u) { return seen; }
    return Span(seen.text, max(seen.begin, split * SPLIT), min(seen.end, (split + 1u) * SPLIT));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * ITEMS;
    // Lanes past the last set take its positions again, for nobody.
    let own_set = select(0u, min(lane(inv) / QUADS, SETS - 1u), SETS > 1u);
    let first_quad = select(lane(inv), lane(inv) % QUADS, SETS > 1u);
    let tiles = n_tiles(params.group, ROWS);
    let n_items = tiles * params.n_kv_heads * params.n_splits;
    for (var i = team(inv); i < ITEMS; i += n_teams(inv)) {
        if (first + i >= n_items) { break; }
        let kv_head = (first + i) % params.n_kv_heads;
        let tile = ((first + i) / params.n_kv_heads) % tiles;
        let split = (first + i) / (params.n_kv_heads * tiles);
        let slot = slot_of(query_of(tile, 0u, params.group, ROWS).x);
        let row = (slot * params.n_kv_heads + kv_head) * params.context_len;
        #repeat r ROWS
        let query_$r = query_of(tile, $ru, params.group, ROWS);
        let column_$r = query_$r.x;
        let head_$r = kv_head * params.group + query_$r.y;
        let seen_$r = seen_by(column_$r, split);
        let q_base_$r = min(column_$r, state.n_tokens - 1u) * (params.q_stride / 4u) + head_$r * QUADS;
        #repeat l LOADS
        let q_$r_$l = q[q_base_$r + min($lu * LANES + share_lane(inv), QUADS - 1u)] * params.scale;
        #end
        #repeat s SLICES
        var sum_$r_$s = vec4<f32>(0.0);
        #end
        #end
        var best = vec4<f32>(NOTHING);
        var total = vec4<f32>(0.0);
        // Queries of one text go together, in blocks that are counted from where it begins: what stands beside a text, or beside a
        // query that sees less of it, must not change its sums.
        var next = 0u;
        loop {
            var text = 0xFFFFFFFFu;
            #repeat r ROWS
            if (seen_$r.begin < seen_$r.end && seen_$r.text >= next) { text = min(text, seen_$r.text); }
            #end
            if (text == 0xFFFFFFFFu) { break; }
            next = text + 1u;
            var begin = 0xFFFFFFFFu;
            var end = 0u;
            #repeat r ROWS
            if (seen_$r.begin < seen_$r.end && seen_$r.text == text) {
                begin = min(begin, seen_$r.begin);
                end = max(end, seen_$r.end);
            }
            #end
            begin -= (begin - text) % n_lanes(inv);
            for (var block = begin; block < end; block += n_lanes(inv)) {
                let p = block + lane(inv);
                let k_row = row + cell(min(p, end - 1u));
                let k_base = k_row * QUADS;
                var score = vec4<f32>(NOTHING);
                #repeat r ROWS
                var score_$r = 0.0;
                #end
                #repeat l LOADS
                #repeat j LANES
                if ($lu * LANES + $ju < QUADS) {
                    let quad = unpack_quad(k[k_base + $lu * LANES + $ju]);
                    #repeat r ROWS
                    score_$r += dot(quad, shared_$j(q_$r_$l));
                    #end
                }
                #end
                #end
                let k_factor = k_scale(k_row);
                #repeat r ROWS
                let is_seen_$r = seen_$r.text == text && p >= seen_$r.begin && p < seen_$r.end;
                score[$r] = select(NOTHING, scored(score_$r * k_factor, head_$r, column_$r, p), is_seen_$r);
                #end
                let top = max(best, team_max4(inv, score));
                let keep = exp(best - top);
                var e = vec4<f32>(0.0);
                #repeat r ROWS
                e[$r] = select(0.0, exp(score[$r] - top[$r]), is_seen_$r);
                #end
                total = total * keep + e;
                best = top;
                #repeat s SLICES
                #repeat r ROWS
                sum_$r_$s *= keep[$r];
                #end
                #end
                publish(inv, e);
                let n = min(n_lanes(inv), end - block);
                let first_cell = cell(block);
                // AHEAD positions of each set at a time: their loads wait for nobody. Past the last one weights are 0.
                for (var j = 0u; j < n; j += AHEAD * SETS) {
                    #repeat a AHEAD
                    let j_$a = j + $au * SETS + own_set;
                    let v_row_$a = row + cell_after(first_cell, min(j_$a, n - 1u));
                    #repeat s SLICES
                    let v_$a_$s = unpack_quad(v[v_row_$a * QUADS + min(first_quad + $su * n_lanes(inv), QUADS - 1u)]);
                    #end
                    #end
                    #repeat a AHEAD
                    let weight_$a = hear(e, j_$a) * v_scale(v_row_$a);
                    #repeat s SLICES
                    #repeat r ROWS
                    sum_$r_$s += weight_$a[$r] * v_$a_$s;
                    #end
                    #end
                    #end
                }
                release();
            }
        }
        total = team_sum4(inv, total);
        #repeat r ROWS
        #repeat s SLICES
        if (SETS > 1u) { sum_$r_$s = strided_sum4(inv, select(vec4<f32>(0.0), sum_$r_$s, lane(inv) < SETS * QUADS), QUADS); }
        if (column_$r < state.n_tokens && lane(inv) + $su * n_lanes(inv) < QUADS) {
            let d = lane(inv) + $su * n_lanes(inv);
            if (SPLIT == 0u) {
                y[column_$r * (params.y_stride / 4u) + head_$r * QUADS + d] = sum_$r_$s / total[$r];
            } else {
                let part = ((column_$r * params.n_kv_heads * params.group + head_$r) * params.n_splits + split) * (QUADS + 1u);
                y[part + d] = sum_$r_$s;
                y[part + QUADS] = vec4<f32>(best[$r], total[$r], 0.0, 0.0);
            }
        }
        #end
        #end
    }
}
