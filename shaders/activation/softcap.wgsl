// c·tanh(v/c) with c = params.factor: bounds logits (Gemma 2, arXiv 2408.00118). Clamped: tanh of a large argument overflows inside on some drivers.
fn activate(v: f32) -> f32 { return params.factor * tanh(clamp(v / params.factor, -15.0, 15.0)); }
