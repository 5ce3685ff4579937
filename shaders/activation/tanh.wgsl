// Clamped: tanh of a large argument overflows inside on some drivers.
fn activate(v: f32) -> f32 { return tanh(clamp(v, -15.0, 15.0)); }
