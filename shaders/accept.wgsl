#import state
// Appends what was chosen behind the columns of a step, up to and with the first token that differs from its draft: what was
// chosen after a wrong draft is worth nothing. The next step is about the last token appended. One thread.
struct Params { context_len: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> history: array<u32>; // (slot, context_len + 1): token id by position
@group(0) @binding(2) var<storage, read_write> state: State;

@compute @workgroup_size(1)
fn main() {
    let next = state.slot * (params.context_len + 1u) + state.position + 1u;
    let n_drafts = state.n_tokens - 1u;
    var n = 0u;
    while (n < n_drafts && history[next + n] == state.chosen[n]) { n++; }
    history[next + n] = state.chosen[n];
    state.n_drafted += n_drafts;
    state.n_accepted += n;
    state.position += n + 1u;
    state.n_tokens = 1u;
}
