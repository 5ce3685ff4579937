#import fifth_bits
// Plane 0: low nibbles; plane 1: f16 scale; plane 2: fifth bits, a word per row and granule. w = d·(q − 16)
struct Scales { d: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales { return Scales(unit(params.planes.y, at, step, 1u, 0u)); }
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let d = four_f16(half_unit(s.d, g));
    return Affine(d, -16.0 * d);
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = true;
const FIFTH_BITS: u32 = 2u;
