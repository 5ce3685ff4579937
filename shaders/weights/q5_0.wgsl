#import nibbles
// Plane 0: low nibbles; plane 1: f16 scale; plane 2: fifth bits, a word per row and granule. w = d·(q − 16)
struct Scales { d: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales { return Scales(unit(params.planes.y, at, step, 1u, 0u)); }
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let d = four_f16(half_unit(s.d, g));
    return Affine(d, -16.0 * d);
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = true;
struct Codes { low: Rows, high: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), unit(params.planes.z, at, step, 2u, g));
}
fn codes4(w: Codes, j: u32) -> Quad { return five_bit_codes(w.low, w.high, j); }
