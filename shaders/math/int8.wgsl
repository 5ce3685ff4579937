// 8-bit integers, four to a word: codes as they are, times x as 127ths of the largest of what the lanes loaded together. Sums are
// exact, scales go to them: Σ (s·q + o)·x = s·Σ q·x + o·Σ x.
alias Value = u32;
alias Part = vec4<i32>;
alias Total = i32;
alias Operand = vec4<u32>;
const VEC4S_PER_SUM: u32 = min(VEC4S_PER_SCALE, LANES);
fn range(v: vec4<f32>) -> f32 { return max(share_max(v), SMALLEST) / 127.0; }
fn value(v: vec4<f32>, range: f32) -> Value { return pack4xI8(vec4<i32>(round(v / range))); }
fn operand(codes: Codes, j: u32, f: Affine) -> Operand { return packed4(codes, j); }
fn multiplied(part: Part, w: Operand, v: Value) -> Part {
    return part + vec4<i32>(dot4I8Packed(w.x, v), dot4I8Packed(w.y, v), dot4I8Packed(w.z, v), dot4I8Packed(w.w, v));
}
fn tally(total: Total, v: Value) -> Total {
    if (HAS_OFFSET) { return total + dot4I8Packed(v, 0x01010101u); }
    return total;
}
fn finished(part: Part, total: Total, range: f32, f: Affine) -> vec4<f32> {
    return range * (f.scale * vec4<f32>(part) + f.offset * f32(total));
}
