#import unscaled
// Plane 0: 4 units per row and granule, two weights to a word; a bf16 is the upper half of a float.
fn codes4(w: Codes, j: u32) -> Quad {
    let rows = row_units(params.planes.x, w.at, w.step, 32u, 16u * w.g + j / 2u, 4u);
    let odd = j % 2u;
    return Quad(four_bf16(half_unit(rows.a, odd)), four_bf16(half_unit(rows.b, odd)), four_bf16(half_unit(rows.c, odd)), four_bf16(half_unit(rows.d, odd)));
}
fn four_bf16(words: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xFFFF0000u, words.y << 16u, words.y & 0xFFFF0000u));
}
