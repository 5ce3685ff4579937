// Plane 0: codes, 1 vec4 per granule of 32; plane 1: f16 scale per granule. w = d·(q − 8)
struct Granule { codes: vec4<u32>, d: f32 }
fn load_granule(row: u32, g: u32) -> Granule {
    let i = row * params.granules + g;
    return Granule(weights[params.planes.x + i], plane_f16(params.planes.y, i));
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> { return w.d * (bytes4(nibbles4(w.codes, j)) - 8.0); }
