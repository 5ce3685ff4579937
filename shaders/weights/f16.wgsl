// Plane 0: 4 vec4 per granule of 32 weights, two to a word.
struct Granule { at: u32 }
fn load_granule(row: u32, g: u32) -> Granule { return Granule(params.planes.x + (row * params.granules + g) * 4u); }
fn dequant4(w: Granule, j: u32) -> vec4<f32> {
    let words = weights[w.at + j / 2u];
    let pair = select(words.xy, words.zw, j % 2u == 1u);
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
