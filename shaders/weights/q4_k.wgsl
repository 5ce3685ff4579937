// Plane 0: the file's 144-byte blocks of 256, 9 vec4 each: header, then 4 chunks of 32 bytes; chunk c holds sub-blocks
// 2c (low nibbles) and 2c+1 (high nibbles). A granule is a sub-block. w = d·sc·q − dmin·m
struct Granule { lo: vec4<u32>, hi: vec4<u32>, dm: vec2<f32> }
fn load_granule(row: u32, g: u32) -> Granule {
    let s = g % 8u;
    let block = params.planes.x + (row * params.granules + g) / 8u * 9u;
    let chunk = block + 1u + (s / 2u) * 2u;
    let shift = vec4<u32>(4u * (s % 2u));
    let mask = vec4<u32>(0x0F0F0F0Fu);
    return Granule((weights[chunk] >> shift) & mask, (weights[chunk + 1u] >> shift) & mask, k_scale(weights[block], s));
}
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    let half = select(w.lo, w.hi, j >= 4u);
    return w.dm.x * bytes4(half[j % 4u]) - w.dm.y;
}
