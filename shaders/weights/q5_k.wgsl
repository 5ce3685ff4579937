// Plane 0: the file's 176-byte blocks of 256, 11 vec4 each: header, 32 bytes of fifth bits (bit s of byte l: weight l of
// sub-block s), then as Q4_K. w = d·sc·q − dmin·m
struct Granule { lo: vec4<u32>, hi: vec4<u32>, dm: vec2<f32> }
fn load_granule(row: u32, g: u32) -> Granule {
    let s = g % 8u;
    let block = params.planes.x + (row * params.granules + g) / 8u * 11u;
    let chunk = block + 3u + (s / 2u) * 2u;
    let shift = vec4<u32>(4u * (s % 2u));
    let mask = vec4<u32>(0x0F0F0F0Fu);
    let bit = vec4<u32>(s);
    let one = vec4<u32>(0x01010101u);
    let four = vec4<u32>(4u);
    let lo = ((weights[chunk] >> shift) & mask) | (((weights[block + 1u] >> bit) & one) << four);
    let hi = ((weights[chunk + 1u] >> shift) & mask) | (((weights[block + 2u] >> bit) & one) << four);
    return Granule(lo, hi, k_scale(weights[block], s));
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    let half = select(w.lo, w.hi, j >= 4u);
    return w.dm.x * bytes4(half[j % 4u]) - w.dm.y;
}
