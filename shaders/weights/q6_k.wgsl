// Plane 0: low nibbles, 1 vec4 per granule of 32; plane 1: upper 2 bits, 2 words per granule (word h, byte b, bits 2t: weight
// 16h+4t+b); plane 2: 16 signed scales per 256; plane 3: f16 d per 256. w = d·sc·(q − 32)
struct Granule { codes: vec4<u32>, high: vec2<u32>, d: vec2<f32> }
fn load_granule(row: u32, g: u32) -> Granule {
    let i = row * params.granules + g;
    let s = i % 8u;
    let high = weights[params.planes.y + i / 2u];
    let scales = signed_bytes4(weights[params.planes.z + i / 8u][s / 2u]);
    let pair = select(scales.xy, scales.zw, s % 2u == 1u);
    return Granule(
        weights[params.planes.x + i],
        select(high.xy, high.zw, i % 2u == 1u),
        plane_f16(params.planes.w, i / 8u) * pair,
    );
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    let high = (w.high[j / 4u] >> (2u * (j % 4u))) & 0x03030303u;
    return w.d[j / 4u] * (bytes4(nibbles4(w.codes, j) | (high << 4u)) - 32.0);
}
