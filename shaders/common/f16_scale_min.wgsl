// Plane 1: two f16, d and m, per row and granule. w = d·q + m
struct Scales { first: vec4<u32>, second: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales {
    return Scales(unit(params.planes.y, at, step, 2u, 0u), unit(params.planes.y, at, step, 2u, 1u));
}
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let dm = select(s.first, s.second, g == 1u);
    return Affine(first_f16(dm), second_f16(dm));
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = true;
