// Plane 0: codes, 2 units per row and granule; plane 1: f16 scale. w = d·q
struct Scales { d: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales { return Scales(unit(params.planes.y, at, step, 1u, 0u)); }
fn affine(s: Scales, g: u32, h: u32) -> Affine { return Affine(four_f16(half_unit(s.d, g)), vec4<f32>(0.0)); }
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = false;
struct Codes { lo: Rows, hi: Rows }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(row_units(params.planes.x, at, step, 16u, 8u * g, 2u), row_units(params.planes.x, at, step, 16u, 8u * g + 1u, 2u));
}
fn half_codes(w: Rows, j: u32) -> Quad {
    return Quad(signed_bytes4(w.a[j]), signed_bytes4(w.b[j]), signed_bytes4(w.c[j]), signed_bytes4(w.d[j]));
}
fn codes4(w: Codes, j: u32) -> Quad {
    if (j >= 4u) { return half_codes(w.hi, j - 4u); }
    return half_codes(w.lo, j);
}
