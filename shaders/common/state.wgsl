// Which tokens this step is about: columns 0..n_tokens stand at positions position.. of the sequence.
struct State { position: u32, n_tokens: u32, pad0: u32, pad1: u32 }
@group(0) @binding(1) var<uniform> state: State;
