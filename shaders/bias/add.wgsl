// params.bias: the bias vector's start in `vectors`, in vec4s.
fn add_bias(v: f32, row: u32) -> f32 { return v + vectors[params.bias + row / 4u][row % 4u]; }
