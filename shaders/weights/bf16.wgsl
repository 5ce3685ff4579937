// Plane 0: 4 units per row and granule, two weights to a word; a bf16 is the upper half of a float.
struct Scales { none: u32 }
fn load_scales(at: At, step: u32) -> Scales { return Scales(0u); }
fn affine(s: Scales, g: u32, h: u32) -> Affine { return Affine(vec4<f32>(1.0), vec4<f32>(0.0)); }
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = false;
struct Codes { at: At, step: u32, g: u32 }
fn load_codes(at: At, step: u32, g: u32) -> Codes { return Codes(at, step, g); }
fn codes4(w: Codes, j: u32) -> Quad {
    let rows = row_units(params.planes.x, w.at, w.step, 32u, 16u * w.g + j / 2u, 4u);
    let odd = j % 2u;
    return Quad(four_bf16(half_unit(rows.a, odd)), four_bf16(half_unit(rows.b, odd)), four_bf16(half_unit(rows.c, odd)), four_bf16(half_unit(rows.d, odd)));
}
fn four_bf16(words: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xFFFF0000u, words.y << 16u, words.y & 0xFFFF0000u));
}
