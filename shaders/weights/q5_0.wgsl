#import fifth_bits
#import f16_scale
// Plane 0: low nibbles; plane 1: f16 scale; plane 2: fifth bits. w = d·(q − 16)
const ZERO: f32 = 16.0;
const FIFTH_BITS: u32 = 2u;
