#import fifth_bits
#import f16_scale_min
// Plane 0: low nibbles; plane 1: f16 scale and minimum; plane 2: fifth bits. w = d·q + m
const FIFTH_BITS: u32 = 2u;
