fn add_residual(v: vec4<f32>, at: u32) -> vec4<f32> { return v; }
fn begun(v: vec4<f32>, at: u32) -> vec4<f32> { return v; }
