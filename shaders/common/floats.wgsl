// Products and sums of 32-bit floats, of x as it is.
alias Value = vec4<f32>;
alias Part = vec4<f32>;
alias Total = vec4<f32>;
alias Operand = Quad;
const VEC4S_PER_SUM: u32 = VEC4S_PER_SCALE;
fn range(v: vec4<f32>) -> f32 { return 1.0; }
fn value(v: vec4<f32>, range: f32) -> Value { return v; }
fn multiplied(part: Part, w: Operand, v: Value) -> Part { return part + vec4<f32>(dot(w.a, v), dot(w.b, v), dot(w.c, v), dot(w.d, v)); }
