// Rotary embedding (arXiv 2104.09864) on pairs i, i + HEAD_DIM/2: Hugging Face's order. Returns values 2t and 2t+1.
fn rotated_one(base: u32, i: u32, position: u32) -> f32 {
    let half = HEAD_DIM / 2u;
    let a = x[base + i % half];
    let b = x[base + i % half + half];
    let r = angles[position * half + i % half];
    return select(a * r.x - b * r.y, a * r.y + b * r.x, i >= half);
}
fn rotated(base: u32, t: u32, position: u32) -> vec2<f32> {
    return vec2<f32>(rotated_one(base, 2u * t, position), rotated_one(base, 2u * t + 1u, position));
}
