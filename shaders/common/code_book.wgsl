#import nibbles
#import signed_codes
// Codes of 4 bits that stand for the signed bytes of BOOK_0 to BOOK_3.
struct Codes { low: Rows }
fn load_codes(at: At, step: u32, g: u32) -> Codes { return Codes(load_nibbles(at, step, g)); }

// A choice between two numbers for each byte of a word, without a table in memory, which software drivers would gather from.
fn either(mask: vec4<u32>, a: vec4<u32>, b: vec4<u32>) -> vec4<u32> { return a ^ (mask & (a ^ b)); }
// All ones in the bytes whose bit is set.
fn bytes_with_bit(codes: vec4<u32>, bit: u32) -> vec4<u32> {
    return ((codes >> vec4<u32>(bit)) & vec4<u32>(0x01010101u)) * 255u;
}
// A number in all four bytes.
fn four_of(number: i32) -> vec4<u32> { return vec4<u32>((bitcast<u32>(number) & 255u) * 0x01010101u); }
fn one_of_four(bit_0: vec4<u32>, bit_1: vec4<u32>, book: vec4<i32>) -> vec4<u32> {
    return either(bit_1, either(bit_0, four_of(book.x), four_of(book.y)), either(bit_0, four_of(book.z), four_of(book.w)));
}
fn packed4(w: Codes, j: u32) -> vec4<u32> {
    let codes = packed_nibbles(w.low, j);
    let bit_0 = bytes_with_bit(codes, 0u);
    let bit_1 = bytes_with_bit(codes, 1u);
    let bit_2 = bytes_with_bit(codes, 2u);
    let low = either(bit_2, one_of_four(bit_0, bit_1, BOOK_0), one_of_four(bit_0, bit_1, BOOK_1));
    let high = either(bit_2, one_of_four(bit_0, bit_1, BOOK_2), one_of_four(bit_0, bit_1, BOOK_3));
    return either(bytes_with_bit(codes, 3u), low, high);
}
