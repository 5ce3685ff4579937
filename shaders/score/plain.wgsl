fn scored(v: f32) -> f32 { return v; }
