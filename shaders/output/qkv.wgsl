#import bias
#import kv
#import rope
#import columns
#import append
// q, k and v of a column: q and k rotated, q to its own buffer, k and v appended to the cache (slot, kv head, position, HEAD_DIM). A part's rows
// are whole heads; a quad is the four values of a head that rotate together.
@group(0) @binding(5) var<storage, read> angles: array<vec2<f32>>; // (context_len, HEAD_DIM/2): cos, sin
@group(0) @binding(6) var<storage, read_write> q: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> k: array<KvPair>;
@group(0) @binding(8) var<storage, read_write> v: array<KvPair>;
const QUADS: u32 = HEAD_DIM / 4u;
fn store(quad: u32, column: u32, sums: vec4<f32>) {
    let row = params.first_row + (quad / QUADS) * HEAD_DIM;
    let values = quad_values(quad % QUADS);
    let biased = vec4<f32>(add_bias(sums.x, row + values.x), add_bias(sums.y, row + values.y), add_bias(sums.z, row + values.z), add_bias(sums.w, row + values.w));
    append(row / HEAD_DIM, quad % QUADS, column, biased);
}
