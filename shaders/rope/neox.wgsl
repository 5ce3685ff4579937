// Rotary embedding (arXiv 2104.09864) on pairs i, i + HEAD_DIM/2: Hugging Face's order.
fn quad_values(t: u32) -> vec4<u32> { return vec4<u32>(2u * t) + vec4<u32>(0u, 1u, HEAD_DIM / 2u, HEAD_DIM / 2u + 1u); }
fn rotate(v: vec4<f32>, t: u32, position: u32) -> vec4<f32> {
    let a = angles[position * (HEAD_DIM / 2u) + 2u * t];
    let b = angles[position * (HEAD_DIM / 2u) + 2u * t + 1u];
    return vec4<f32>(v.x * a.x - v.z * a.y, v.y * b.x - v.w * b.y, v.x * a.y + v.z * a.x, v.y * b.y + v.w * b.x);
}
