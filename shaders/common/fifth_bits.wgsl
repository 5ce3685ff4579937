#import nibbles
// Codes of 5 bits: low nibbles in plane 0, fifth bits, a word per row and granule, in plane FIFTH_BITS.
struct Codes { low: Rows, high: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), unit(params.planes[FIFTH_BITS], at, step, 2u, g));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> {
    let bits = w.high >> vec4<u32>(4u * j);
    return packed_nibbles(w.low, j) | vec4<u32>(fifth_bits(bits.x), fifth_bits(bits.y), fifth_bits(bits.z), fifth_bits(bits.w));
}
