#import scaled
// 16-bit floats: products of scaled weights with x over the largest of what the lanes loaded together, so that nothing
// overflows, and sums of up to 4·LANES of them; longer sums are 32-bit floats.
alias Value = vec4<f16>;
alias Part = vec4<f16>;
alias Total = f32;
struct Operand { a: vec4<f16>, b: vec4<f16>, c: vec4<f16>, d: vec4<f16> }
const VEC4S_PER_SUM: u32 = min(VEC4S_PER_SCALE, LANES);
fn range(v: vec4<f32>) -> f32 { return max(share_max(v), SMALLEST); }
fn value(v: vec4<f32>, range: f32) -> Value { return vec4<f16>(v / range); }
fn operand(codes: Codes, j: u32, f: Affine) -> Operand {
    let w = scaled(codes4(codes, j), f);
    return Operand(vec4<f16>(w.a), vec4<f16>(w.b), vec4<f16>(w.c), vec4<f16>(w.d));
}
fn multiplied(part: Part, w: Operand, v: Value) -> Part {
    return part + vec4<f16>(dot(w.a, v), dot(w.b, v), dot(w.c, v), dot(w.d, v));
}
fn tally(total: Total, v: Value) -> Total { return total; }
fn finished(part: Part, total: Total, range: f32, f: Affine) -> vec4<f32> { return range * vec4<f32>(part); }
