#import state
// Takes over the last n ids of another decoder's history, and makes the next step about them and the id before them. One
// thread.
struct Params {
    n: u32,
    their_context_len: u32,
    context_len: u32,
    pad0: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> their_history: array<u32>; // (slot, their_context_len + 1): token id by position
@group(0) @binding(2) var<storage, read> their_state: State;
@group(0) @binding(3) var<storage, read_write> history: array<u32>; // (slot, context_len + 1)
@group(0) @binding(4) var<storage, read_write> state: State;

@compute @workgroup_size(1)
fn main() {
    let first = their_state.position + 1u - params.n;
    let theirs = their_state.slot * (params.their_context_len + 1u) + first;
    let ours = state.slot * (params.context_len + 1u) + first;
    for (var i = 0u; i < params.n; i++) { history[ours + i] = their_history[theirs + i]; }
    state.position = first - 1u;
    state.n_tokens = params.n + 1u;
}
