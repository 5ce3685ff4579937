// Rotary embedding (arXiv 2104.09864) on neighbours 2t, 2t+1: GGUF's llama order.
fn rotated(base: u32, t: u32, position: u32) -> vec2<f32> {
    let v = vec2<f32>(x[base + 2u * t], x[base + 2u * t + 1u]);
    let r = angles[position * (HEAD_DIM / 2u) + t];
    return vec2<f32>(v.x * r.x - v.y * r.y, v.x * r.y + v.y * r.x);
}
