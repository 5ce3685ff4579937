// Rotary embedding (arXiv 2104.09864) on neighbours 2i, 2i+1: GGUF's llama order.
fn quad_values(t: u32) -> vec4<u32> { return vec4<u32>(4u * t) + vec4<u32>(0u, 1u, 2u, 3u); }
fn rotate(v: vec4<f32>, t: u32, position: u32) -> vec4<f32> {
    let a = angles[position * (HEAD_DIM / 2u) + 2u * t];
    let b = angles[position * (HEAD_DIM / 2u) + 2u * t + 1u];
    return vec4<f32>(v.x * a.x - v.y * a.y, v.x * a.y + v.y * a.x, v.z * b.x - v.w * b.y, v.z * b.y + v.w * b.x);
}
