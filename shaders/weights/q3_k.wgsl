#import two_bits
#import one_bit
#import unsigned_codes
#import k_signed_scale
// Plane 0: lower 2 bits; planes 1 and 2: scales; plane 3: third bits. w = d·sc·(q − 4)
const ZERO: f32 = 4.0;
struct Codes { low: TwoBits, high: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_two_bits(params.planes.x, at, step, g), load_one_bit(params.planes.w, at, step, g));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> { return packed_two_bits(w.low, j) | packed_one_bit(w.high, j, 2u); }
