fn bias4(at: u32) -> vec4<f32> { return vec4<f32>(0.0); }
fn bias2(at: u32) -> vec2<f32> { return vec2<f32>(0.0); }
