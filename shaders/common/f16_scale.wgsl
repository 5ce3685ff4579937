// Plane 1: an f16 scale per row and granule. w = d·(q − ZERO)
struct Scales { d: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales { return Scales(unit(params.planes.y, at, step, 1u, 0u)); }
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let d = four_f16(half_unit(s.d, g));
    return Affine(d, -ZERO * d);
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = ZERO != 0.0;
