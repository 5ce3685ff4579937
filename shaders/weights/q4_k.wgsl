#import plain_nibbles
#import k_scale
// Plane 0: codes; planes 1 and 2: scales. w = d·sc·q − dmin·m
