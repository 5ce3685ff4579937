#import plain_nibbles
#import f16_scale_min
// Plane 0: codes; plane 1: f16 scale and minimum. w = d·q + m
