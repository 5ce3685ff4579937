#import iq4_book
// Plane 0: codes; plane 1: of each row and half block of 128 four signed scales, one per granule; plane 2: f16 factor per row and block
// of 256. w = d·sc·book[q]
struct Scales { sub: vec4<u32>, factors: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales {
    let sub = half_block_unit(params.planes.y, at, step);
    // Those of the step's two granules come first.
    return Scales(sub >> vec4<u32>(16u * (step % 2u)), block_unit(params.planes.z, at, step));
}
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let own = bitcast<vec4<i32>>(s.sub << vec4<u32>(24u - 8u * g)) >> vec4<u32>(24u);
    return Affine(first_f16(s.factors) * vec4<f32>(own), vec4<f32>(0.0));
}
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = false;
