// Four unsigned bytes of a word as floats. Shifts, not unpack4xU8: that is twice as slow on SwiftShader and optional in browsers.
fn bytes4(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(w & 255u, (w >> 8u) & 255u, (w >> 16u) & 255u, w >> 24u));
}

// Four signed bytes of a word as floats.
fn signed_bytes4(w: u32) -> vec4<f32> {
    let s = bitcast<i32>(w);
    return vec4<f32>(vec4<i32>((s << 24u) >> 24u, (s << 16u) >> 24u, (s << 8u) >> 24u, s >> 24u));
}

// The codes' 4-bit parts: word j of `codes` holds weights 8j..8j+3 in its low nibbles and 8j+4..8j+7 in its high ones.
fn nibbles4(codes: vec4<u32>, j: u32) -> u32 {
    return (codes[j / 2u] >> (4u * (j % 2u))) & 0x0F0F0F0Fu;
}

// Bits 0..3 of `bits`, each the lowest of a byte.
fn spread4(bits: u32) -> u32 {
    return (bits & 1u) | ((bits & 2u) << 7u) | ((bits & 4u) << 14u) | ((bits & 8u) << 21u);
}
