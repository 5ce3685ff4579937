// Plane 0: codes, 2 vec4 per granule of 32; plane 1: f16 scale per granule. w = d·q
struct Granule { lo: vec4<u32>, hi: vec4<u32>, d: f32 }
fn load_granule(row: u32, g: u32) -> Granule {
    let i = row * params.granules + g;
    let at = params.planes.x + 2u * i;
    return Granule(weights[at], weights[at + 1u], plane_f16(params.planes.y, i));
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    let half = select(w.lo, w.hi, j >= 4u);
    return w.d * signed_bytes4(half[j % 4u]);
}
