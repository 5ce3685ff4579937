#import nibbles
// Plane 0: low nibbles; plane 1: two signed scales per row and granule, each of 16 weights; plane 2: f16 factor per row and block
// of 256; plane 3: upper 2 bits, 2 words per row and granule (word h, byte b, bits 2t: weight 16h+4t+b). w = d·sc·(q − 32)
struct Scales { sub: vec4<u32>, factors: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales {
    return Scales(unit(params.planes.y, at, step, 1u, 0u), block_unit(params.planes.z, at, step));
}
fn affine(s: Scales, g: u32, h: u32) -> Affine {
    let sub = half_unit(s.sub, g);
    let low = signed_bytes4(sub.x);
    let high = signed_bytes4(sub.y);
    let scale = first_f16(s.factors) * select(vec4<f32>(low.xz, high.xz), vec4<f32>(low.yw, high.yw), h == 1u);
    return Affine(scale, -32.0 * scale);
}
const VEC4S_PER_SCALE: u32 = 4u;
const HAS_OFFSET: bool = true;
struct Codes { low: Rows, ab: vec4<u32>, cd: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), unit(params.planes.w, at, step, 4u, 2u * g), unit(params.planes.w, at, step, 4u, 2u * g + 1u));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> {
    let words = select(vec4<u32>(w.ab.xz, w.cd.xz), vec4<u32>(w.ab.yw, w.cd.yw), j >= 4u);
    let upper = ((words >> vec4<u32>(2u * (j % 4u))) & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
    return packed_nibbles(w.low, j) | upper;
}
