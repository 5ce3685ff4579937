#import unscaled
// Plane 0: 8 units per row and granule.
fn codes4(w: Codes, j: u32) -> Quad {
    let rows = row_units(params.planes.x, w.at, w.step, 64u, 32u * w.g + j, 8u);
    return Quad(bitcast<vec4<f32>>(rows.a), bitcast<vec4<f32>>(rows.b), bitcast<vec4<f32>>(rows.c), bitcast<vec4<f32>>(rows.d));
}
