// y = W·(x·g / rms(x)): the weight g goes in while x is loaded, 1/rms(x) comes out of the sum. x² is summed on the way.
// params.norm: g's start in `vectors`, in vec4s.
fn weigh(v: vec4<f32>, k4: u32) -> vec4<f32> { return v * vectors[params.norm + k4]; }
fn square(v: vec4<f32>) -> f32 { return dot(v, v); }
const NORMED: bool = true;
