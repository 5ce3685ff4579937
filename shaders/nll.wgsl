#import grid
#import state
#import state_to_read
#import team
// y[column] = −ln softmax(logits[column])[the next token of the history]. A team per column.
struct Params {
    n_cols: u32, // vocabulary size
    stride: u32, // floats per column of logits
    pad0: u32,
    pad1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> history: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * COLS;
    for (var c = team(inv); c < COLS; c += n_teams(inv)) {
        let column = min(first + c, state.n_tokens - 1u);
        let base = column * params.stride;
        var best = -1e30;
        for (var i = lane(inv); i < params.n_cols; i += n_lanes(inv)) { best = max(best, logits[base + i]); }
        best = team_max(inv, best);
        var sum = 0.0;
        for (var i = lane(inv); i < params.n_cols; i += n_lanes(inv)) { sum += exp(logits[base + i] - best); }
        sum = team_sum(inv, sum);
        if (lane(inv) == 0u && first + c < state.n_tokens) {
            let next = history[state.position + column + 1u];
            y[column] = best + log(sum) - logits[base + next];
        }
    }
}
