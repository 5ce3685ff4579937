// Every column's next token, in a slot of its own.
fn end_of(column: u32) -> u32 { return state.positions[column] + 1u; }
fn slot_of(column: u32) -> u32 { return state.slots[column]; }
fn request_of(column: u32) -> u32 { return column; }
fn is_live(column: u32) -> bool { return column < state.n_tokens; }
fn take(column: u32, end: u32, token: u32) {
    append(state.slots[column], end, token);
    state.positions[column] = end;
}
