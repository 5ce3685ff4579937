#import nibbles
#import two_bits
#import unsigned_codes
#import k_signed_scale
// Plane 0: low nibbles; planes 1 and 2: scales; plane 3: upper 2 bits. w = d·sc·(q − 32)
const ZERO: f32 = 32.0;
struct Codes { low: Rows, upper: TwoBits }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), load_two_bits(params.planes.w, at, step, g));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> { return packed_nibbles(w.low, j) | (packed_two_bits(w.upper, j) << vec4<u32>(4u)); }
