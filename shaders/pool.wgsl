#import grid
#import state
#import state_to_read
#import team
#import pooling
// y[text] = one vector from the columns of each text of a ragged batch, optionally scaled to length 1. A team per text; `state` counts
// texts, not tokens.
struct Params {
    x_stride: u32, // vec4s per column of x and per text of y
    pad0: u32,
    pad1: u32,
    pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> texts: array<vec2<u32>>; // first and one-past-last column of each text
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * TEXTS;
    for (var t = team(inv); t < TEXTS; t += n_teams(inv)) {
        let text = min(first + t, state.n_tokens - 1u);
        let seen = texts[text];
        var squares = 0.0;
        for (var k4 = lane(inv); k4 < params.x_stride; k4 += n_lanes(inv)) {
            let v = pooled(seen, k4);
            squares += dot(v, v);
        }
        squares = team_sum(inv, squares);
        let scale = select(1.0, inverseSqrt(max(squares, 1e-24)), NORMALIZE == 1u);
        if (first + t < state.n_tokens) {
            for (var k4 = lane(inv); k4 < params.x_stride; k4 += n_lanes(inv)) {
                y[text * params.x_stride + k4] = pooled(seen, k4) * scale;
            }
        }
    }
}
