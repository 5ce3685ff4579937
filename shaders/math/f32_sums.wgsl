#import floats
// Scales go to the sums of codes: Σ (s·q + o)·x = s·Σ q·x + o·Σ x. Less work than scaled weights where few columns share them.
fn operand(codes: Codes, j: u32, f: Affine) -> Operand { return codes4(codes, j); }
fn tally(total: Total, v: Value) -> Total {
    if (HAS_OFFSET) { return total + v; }
    return total;
}
fn finished(part: Part, total: Total, range: f32, f: Affine) -> vec4<f32> {
    if (HAS_OFFSET) { return f.scale * part + f.offset * dot(total, vec4<f32>(1.0)); }
    return f.scale * part;
}
