#import iq4_book
#import f16_scale
// Plane 0: codes; plane 1: f16 scale. w = d·book[q]
const ZERO: f32 = 0.0;
