// The residual stream before this layer half; same layout as y.
fn add_residual(v: vec4<f32>, at: u32) -> vec4<f32> { return v + residual[at]; }
fn begun(v: vec4<f32>, at: u32) -> vec4<f32> { return v; }
