// (x − mean)·g / sqrt(var + eps) + b. params.bias: b's start in `vectors`, in vec4s.
const CENTERED: bool = true;
fn shift(i: u32) -> vec4<f32> { return vectors[params.bias + i]; }
