// Q3_K's and Q6_K's scales, plane 1: of each row and granule two signed bytes, each the scale of 16 weights; plane 2: an f16 factor
// per row and block of 256. w = d·sc·(q − ZERO)
struct Scales { sub: vec4<u32>, factors: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales {
    return Scales(unit(params.planes.y, at, step, 1u, 0u), block_unit(params.planes.z, at, step));
}
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let sub = half_unit(s.sub, g);
    let low = signed_bytes4(sub.x);
    let high = signed_bytes4(sub.y);
    let scale = first_f16(s.factors) * select(vec4<f32>(low.xz, high.xz), vec4<f32>(low.yw, high.yw), h == 1u);
    return Affine(scale, -ZERO * scale);
}
const VEC4S_PER_SCALE: u32 = 4u;
const HAS_OFFSET: bool = true;
