// What this step is about. Columns 0..n_tokens are tokens; where they stand, a file of `columns` says from the rest.
struct State {
    position: u32, // of column 0, of neighbours in one slot
    n_tokens: u32,
    slot: u32,       // theirs
    n_found: u32,    // drafts that the last lookup found
    n_drafted: u32,  // drafts checked since the host wrote the state
    n_accepted: u32, // those among them that were right
    pad0: u32,
    pad1: u32,
    positions: array<u32, 8>, // by column, of tokens in slots of their own
    slots: array<u32, 8>,     // theirs
    chosen: array<u32, 8>,    // by column, the tokens that follow drafts
}
