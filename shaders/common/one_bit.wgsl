// One bit of each code: a word per row and granule, bit i of weight i.
fn load_one_bit(plane: u32, at: At, step: u32, g: u32) -> vec4<u32> { return unit(plane, at, step, 2u, g); }
// The bits of weights 4j..4j+3 as bit `to` of bytes.
fn packed_one_bit(words: vec4<u32>, j: u32, to: u32) -> vec4<u32> {
    let bits = words >> vec4<u32>(4u * j);
    return vec4<u32>(spread4(bits.x), spread4(bits.y), spread4(bits.z), spread4(bits.w)) << vec4<u32>(to);
}
