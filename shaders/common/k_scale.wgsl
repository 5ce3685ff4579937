// Q4_K's and Q5_K's scales, plane 1: of each row and granule two bytes, sc and m; plane 2: of each row and block of 256 two f16,
// d and dmin. w = d·sc·q − dmin·m
struct Scales { sub: vec4<u32>, factors: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales {
    return Scales(unit(params.planes.y, at, step, 1u, 0u), block_unit(params.planes.z, at, step));
}
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let sub = half_unit(s.sub, g);
    let low = bytes4(sub.x);
    let high = bytes4(sub.y);
    return Affine(first_f16(s.factors) * vec4<f32>(low.xz, high.xz), -second_f16(s.factors) * vec4<f32>(low.yw, high.yw));
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = true;
