// No rotation. t: which pair of neighbours of the head.
fn rotated(base: u32, t: u32, position: u32) -> vec2<f32> { return vec2<f32>(x[base + 2u * t], x[base + 2u * t + 1u]); }
