// Rotary embedding (arXiv 2104.09864) on pairs i, i + ROTATED/2 of a head's first ROTATED values: Hugging Face's order.
fn quad_values(t: u32) -> vec4<u32> {
    if (4u * t >= ROTATED) { return vec4<u32>(4u * t) + vec4<u32>(0u, 1u, 2u, 3u); }
    return vec4<u32>(2u * t) + vec4<u32>(0u, 1u, ROTATED / 2u, ROTATED / 2u + 1u);
}
fn rotate(v: vec4<f32>, t: u32, position: u32) -> vec4<f32> {
    if (4u * t >= ROTATED) { return v; }
    let a = angles[position * (ROTATED / 2u) + 2u * t];
    let b = angles[position * (ROTATED / 2u) + 2u * t + 1u];
    return vec4<f32>(v.x * a.x - v.z * a.y, v.y * b.x - v.w * b.y, v.x * a.y + v.z * a.x, v.y * b.y + v.w * b.x);
}
