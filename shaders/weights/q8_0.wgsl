#import signed_codes
#import f16_scale
// Plane 0: codes, 2 units per row and granule; plane 1: f16 scale. w = d·q
const ZERO: f32 = 0.0;
struct Codes { lo: Rows, hi: Rows }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(row_units(params.planes.x, at, step, 16u, 8u * g, 2u), row_units(params.planes.x, at, step, 16u, 8u * g + 1u, 2u));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> {
    if (j >= 4u) { return vec4<u32>(w.hi.a[j - 4u], w.hi.b[j - 4u], w.hi.c[j - 4u], w.hi.d[j - 4u]); }
    return vec4<u32>(w.lo.a[j], w.lo.b[j], w.lo.c[j], w.lo.d[j]);
}
