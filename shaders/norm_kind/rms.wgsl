// x·g / sqrt(mean(x²) + eps)
const CENTERED: bool = false;
fn shift(i: u32) -> vec4<f32> { return vec4<f32>(0.0); }
