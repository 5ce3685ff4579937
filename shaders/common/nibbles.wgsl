// Codes of 4 bits, plane 0: a unit per row and granule.
fn load_nibbles(at: At, step: u32, g: u32) -> Rows { return row_units(params.planes.x, at, step, 8u, 4u * g, 1u); }
fn nibble_codes(w: Rows, j: u32) -> Quad {
    return Quad(bytes4(nibbles4(w.a, j)), bytes4(nibbles4(w.b, j)), bytes4(nibbles4(w.c, j)), bytes4(nibbles4(w.d, j)));
}
