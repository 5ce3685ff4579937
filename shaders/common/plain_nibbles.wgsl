#import nibbles
#import unsigned_codes
// Codes of 4 bits and nothing more.
struct Codes { low: Rows }
fn load_codes(at: At, step: u32, g: u32) -> Codes { return Codes(load_nibbles(at, step, g)); }
fn packed4(w: Codes, j: u32) -> vec4<u32> { return packed_nibbles(w.low, j); }
