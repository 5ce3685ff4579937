#import nibbles
#import unsigned_codes
#import one_bit
// Codes of 5 bits: low nibbles in plane 0, fifth bits in plane FIFTH_BITS.
struct Codes { low: Rows, high: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), load_one_bit(params.planes[FIFTH_BITS], at, step, g));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> { return packed_nibbles(w.low, j) | packed_one_bit(w.high, j, 4u); }
