#import two_bits
#import unsigned_codes
// Plane 0: codes of 2 bits; plane 1: of each row and granule two bytes, each of 16 weights, 4 bits of scale and above them 4 of minimum;
// plane 2: of each row and block of 256 two f16, d and dmin. w = d·sc·q − dmin·m
struct Scales { sub: vec4<u32>, factors: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales {
    return Scales(unit(params.planes.y, at, step, 1u, 0u), block_unit(params.planes.z, at, step));
}
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let sub = half_unit(s.sub, g);
    // The byte of each row.
    let own = (vec4<u32>(sub.x, sub.x >> 16u, sub.y, sub.y >> 16u) >> vec4<u32>(8u * h)) & vec4<u32>(255u);
    return Affine(first_f16(s.factors) * vec4<f32>(own & vec4<u32>(15u)), -second_f16(s.factors) * vec4<f32>(own >> vec4<u32>(4u)));
}
const VEC4S_PER_SCALE: u32 = 4u;
const HAS_OFFSET: bool = true;
struct Codes { low: TwoBits }
fn load_codes(at: At, step: u32, g: u32) -> Codes { return Codes(load_two_bits(params.planes.x, at, step, g)); }
fn packed4(w: Codes, j: u32) -> vec4<u32> { return packed_two_bits(w.low, j); }
