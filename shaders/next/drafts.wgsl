// The token after every column of one sequence, as if the drafts up to it were its own. Nothing is appended: `accept` does that.
fn end_of(column: u32) -> u32 { return state.position + min(column + 1u, state.n_tokens); }
fn slot_of(column: u32) -> u32 { return state.slot; }
fn request_of(column: u32) -> u32 { return 0u; }
fn is_live(column: u32) -> bool { return column < state.n_tokens; }
fn take(column: u32, end: u32, token: u32) { state.chosen[column] = token; }
