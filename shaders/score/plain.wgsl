fn scored(v: f32, head: u32, column: u32, position: u32) -> f32 { return v; }
