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
fn packed4(w: Codes, j: u32) -> vec4<u32> {
    if (j >= 4u) { return vec4<u32>(w.hi.a[j - 4u], w.hi.b[j - 4u], w.hi.c[j - 4u], w.hi.d[j - 4u]); }
    return vec4<u32>(w.lo.a[j], w.lo.b[j], w.lo.c[j], w.lo.d[j]);
}
fn codes4(w: Codes, j: u32) -> Quad {
    let words = packed4(w, j);
    return Quad(signed_bytes4(words.x), signed_bytes4(words.y), signed_bytes4(words.z), signed_bytes4(words.w));
}
