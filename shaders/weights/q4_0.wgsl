#import nibbles
// Plane 0: codes; plane 1: f16 scale per row and granule. w = d·(q − 8)
struct Scales { d: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales { return Scales(unit(params.planes.y, at, step, 1u, 0u)); }
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let d = four_f16(half_unit(s.d, g));
    return Affine(d, -8.0 * d);
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = true;
struct Codes { low: Rows }
fn load_codes(at: At, step: u32, g: u32) -> Codes { return Codes(load_nibbles(at, step, g)); }
fn packed4(w: Codes, j: u32) -> vec4<u32> { return packed_nibbles(w.low, j); }
