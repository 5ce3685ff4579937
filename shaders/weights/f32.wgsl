// Plane 0: 8 vec4 per granule of 32 weights.
struct Granule { at: u32 }
fn load_granule(row: u32, g: u32) -> Granule { return Granule(params.planes.x + (row * params.granules + g) * 8u); }
fn dequant4(w: Granule, j: u32) -> vec4<f32> { return bitcast<vec4<f32>>(weights[w.at + j]); }
