fn load_x(base: u32, k4: u32) -> vec4<f32> { return x[base + k4]; }
fn x_scale(inv: Invocation, base: u32) -> f32 { return 1.0; }
