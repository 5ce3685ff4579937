// The residual stream before this layer half; same layout as y.
fn add_residual(v: f32, index: u32) -> f32 { return v + residual[index]; }
