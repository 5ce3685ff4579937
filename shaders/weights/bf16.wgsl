#import unscaled
// Plane 0: 4 units per row and granule, two weights to a word.
fn codes4(w: Codes, j: u32) -> Quad {
    let rows = row_units(params.planes.x, w.at, w.step, 32u, 16u * w.g + j / 2u, 4u);
    let odd = j % 2u;
    return Quad(four_bf16(half_unit(rows.a, odd)), four_bf16(half_unit(rows.b, odd)), four_bf16(half_unit(rows.c, odd)), four_bf16(half_unit(rows.d, odd)));
}
