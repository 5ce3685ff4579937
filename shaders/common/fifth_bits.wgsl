#import nibbles
// Codes of 5 bits: low nibbles in plane 0, fifth bits, a word per row and granule, in plane FIFTH_BITS.
struct Codes { low: Rows, high: vec4<u32> }
fn load_codes(at: At, step: u32, g: u32) -> Codes {
    return Codes(load_nibbles(at, step, g), unit(params.planes[FIFTH_BITS], at, step, 2u, g));
}
fn codes4(w: Codes, j: u32) -> Quad {
    let bits = w.high >> vec4<u32>(4u * j);
    return Quad(
        bytes4(nibbles4(w.low.a, j) | fifth_bits(bits.x)),
        bytes4(nibbles4(w.low.b, j) | fifth_bits(bits.y)),
        bytes4(nibbles4(w.low.c, j) | fifth_bits(bits.z)),
        bytes4(nibbles4(w.low.d, j) | fifth_bits(bits.w)),
    );
}
