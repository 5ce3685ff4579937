// The 6-bit scale and minimum of sub-block s from a K block's header (d, dmin, 12 bytes): (d·sc, dmin·m).
fn k_scale(header: vec4<u32>, s: u32) -> vec2<f32> {
    let d = unpack2x16float(header.x);
    let t = 8u * (s % 4u);
    let a = (header.y >> t) & 255u;
    let b = (header.z >> t) & 255u;
    let c = (header.w >> t) & 255u;
    let low = vec2<u32>(a & 63u, b & 63u);
    let high = vec2<u32>((c & 15u) | ((a >> 6u) << 4u), (c >> 4u) | ((b >> 6u) << 4u));
    return d * vec2<f32>(select(low, high, s >= 4u));
}
