#import bias
#import kv
#import rope
#import columns
#import append
// q, k and v of a column: q and k rotated, q to its own buffer, k and v appended to the cache (slot, kv head, position, HEAD_DIM). A part's rows
// are whole heads; a quad is the four values of a head that rotate together.
@group(0) @binding(5) var<storage, read> angles: array<vec2<f32>>; // (context_len, ROTATED/2): cos, sin
@group(0) @binding(6) var<storage, read_write> q: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> k: array<KvPair>;
@group(0) @binding(8) var<storage, read_write> v: array<KvPair>;
const QUADS: u32 = HEAD_DIM / 4u;
// Which quad of which head, and what all columns add to it.
struct Target { head: u32, t: u32, bias: vec4<f32> }
fn target_of(quad: u32) -> Target {
    let head = params.first_row / HEAD_DIM + quad / QUADS;
    let t = quad % QUADS;
    let pairs = head * (HEAD_DIM / 2u) + quad_values(t).xz / 2u;
    return Target(head, t, vec4<f32>(bias2(pairs.x), bias2(pairs.y)));
}
fn store(to: Target, column: u32, sums: vec4<f32>) { append(to.head, to.t, column, sums + to.bias); }
