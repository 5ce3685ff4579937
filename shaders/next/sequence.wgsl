// The one token after a slot's sequence.
fn end_of(column: u32) -> u32 { return state.position + state.n_tokens; }
fn slot_of(column: u32) -> u32 { return state.slot; }
fn request_of(column: u32) -> u32 { return 0u; }
fn is_live(column: u32) -> bool { return true; }
fn take(column: u32, end: u32, token: u32) {
    append(state.slot, end, token);
    state.position = end;
    state.n_tokens = 1u;
}
