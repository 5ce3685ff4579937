// Codes of 4 bits, plane 0: a unit per row and granule.
fn load_nibbles(at: At, step: u32, g: u32) -> Rows { return row_units(params.planes.x, at, step, 8u, 4u * g, 1u); }
fn packed_nibbles(w: Rows, j: u32) -> vec4<u32> {
    return vec4<u32>(nibbles4(w.a, j), nibbles4(w.b, j), nibbles4(w.c, j), nibbles4(w.d, j));
}
