#import plain_nibbles
#import f16_scale
// Plane 0: codes; plane 1: f16 scale. w = d·(q − 8)
const ZERO: f32 = 8.0;
