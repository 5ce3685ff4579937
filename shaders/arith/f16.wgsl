// 16-bit floats: a step is a multiplication and an addition in each of 4 lanes.
alias Value = vec4<f16>;
fn start(i: u32) -> Value { return vec4<f16>(vec4<f32>(f32(i % 256u) + vec4<f32>(0.0, 1.0, 2.0, 3.0)) / 256.0); }
fn next(v: Value, w: Value) -> Value { return v * w + w; }
fn kept(v: Value) -> u32 { return bitcast<u32>(f32(v.x + v.y + v.z + v.w)); }
