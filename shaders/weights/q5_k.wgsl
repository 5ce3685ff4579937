#import nibbles
#import k_scale
// Plane 0: low nibbles; planes 1 and 2: scales; plane 3: fifth bits, a word per row and granule. w = d·sc·q − dmin·m
struct Codes { low: Rows, high: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), unit(params.planes.w, at, step, 2u, g));
}
fn codes4(w: Codes, j: u32) -> Quad { return five_bit_codes(w.low, w.high, j); }
