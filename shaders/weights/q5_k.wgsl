#import fifth_bits
#import k_scale
// Plane 0: low nibbles; planes 1 and 2: scales; plane 3: fifth bits, a word per row and granule. w = d·sc·q − dmin·m
const FIFTH_BITS: u32 = 3u;
