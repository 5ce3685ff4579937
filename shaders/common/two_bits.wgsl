// Two bits of each code: 2 words per row and granule (word h, byte b, bits 2t: weight 16h+4t+b).
struct TwoBits { ab: vec4<u32>, cd: vec4<u32> }
fn load_two_bits(plane: u32, at: At, step: u32, g: u32) -> TwoBits {
    return TwoBits(unit(plane, at, step, 4u, 2u * g), unit(plane, at, step, 4u, 2u * g + 1u));
}
fn packed_two_bits(w: TwoBits, j: u32) -> vec4<u32> {
    let words = select(vec4<u32>(w.ab.xz, w.cd.xz), vec4<u32>(w.ab.yw, w.cd.yw), j >= 4u);
    return (words >> vec4<u32>(2u * (j % 4u))) & vec4<u32>(0x03030303u);
}
