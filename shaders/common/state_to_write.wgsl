// As common/state.wgsl, to be written.
struct State {
    position: u32,
    n_tokens: u32,
    slot: u32,
    n_found: u32,
    n_drafted: u32,
    n_accepted: u32,
    pad0: u32,
    pad1: u32,
    positions: array<u32, 8>,
    slots: array<u32, 8>,
    chosen: array<u32, 8>,
}
