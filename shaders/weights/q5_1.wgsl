// Plane 0: low nibbles, 1 vec4 per granule of 32; plane 1: fifth bits, a word per granule; plane 2: (d, m) f16 pair. w = d·q + m
struct Granule { codes: vec4<u32>, high: u32, dm: vec2<f32> }
fn load_granule(row: u32, g: u32) -> Granule {
    let i = row * params.granules + g;
    let dm = unpack2x16float(weights[params.planes.z + i / 4u][i % 4u]);
    return Granule(weights[params.planes.x + i], weights[params.planes.y + i / 4u][i % 4u], dm);
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    return w.dm.x * bytes4(nibbles4(w.codes, j) | fifth_bits(w.high >> (4u * j))) + w.dm.y;
}
