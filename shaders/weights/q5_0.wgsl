// Plane 0: low nibbles, 1 vec4 per granule of 32; plane 1: fifth bits, a word per granule; plane 2: f16 scale. w = d·(q − 16)
struct Granule { codes: vec4<u32>, high: u32, d: f32 }
fn load_granule(row: u32, g: u32) -> Granule {
    let i = row * params.granules + g;
    return Granule(weights[params.planes.x + i], weights[params.planes.y + i / 4u][i % 4u], plane_f16(params.planes.z, i));
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    return w.d * (bytes4(nibbles4(w.codes, j) | fifth_bits(w.high >> (4u * j))) - 16.0);
}
