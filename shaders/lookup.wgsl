#import state
// Drafts for the next step out of the text itself (prompt lookup decoding): finds where the last ids of the history stood
// before, and writes what followed them there behind the last id. The longest match counts, then the latest, since texts
// repeat what they said last. A match near the end goes on into its own drafts: a loop is drafted as a loop.
struct Params {
    context_len: u32,
    max_drafts: u32,
    applies: u32, // 1: the next step is about the last id and its drafts; 0: only n_found tells
    pad0: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> history: array<u32>; // (slot, context_len + 1): token id by position
@group(0) @binding(2) var<storage, read_write> state: State;

// A match in one word: its length above, the position of its last id below; no context is as long as that.
const POSITION_BITS: u32 = 28u;
var<workgroup> best: atomic<u32>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
    let first = state.slot * (params.context_len + 1u);
    let last = state.position;
    if (local == 0u) { atomicStore(&best, 0u); }
    workgroupBarrier();
    for (var end = local; end < last; end += WG) {
        var n = 0u;
        while (n < LONGEST && n <= end && history[first + end - n] == history[first + last - n]) { n++; }
        if (n >= SHORTEST) { atomicMax(&best, (n << POSITION_BITS) | end); }
    }
    workgroupBarrier();
    if (local == 0u) {
        let found = atomicLoad(&best);
        var n = 0u;
        if (found > 0u) { n = min(params.max_drafts, params.context_len - 1u - last); }
        let source = first + (found & ((1u << POSITION_BITS) - 1u)) + 1u;
        for (var i = 0u; i < n; i++) { history[first + last + 1u + i] = history[source + i]; }
        state.n_found = n;
        if (params.applies == 1u) { state.n_tokens = 1u + n; }
    }
}
