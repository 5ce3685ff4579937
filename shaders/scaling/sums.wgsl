// Scales go to the sums of codes: Σ (s·q + o)·x = s·Σ q·x + o·Σ x. Less work than scaled weights where few columns share them.
fn scaled(codes: Quad, f: Affine) -> Quad { return codes; }
fn tally(total: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    if (HAS_OFFSET) { return total + v; }
    return total;
}
fn finished(sums: vec4<f32>, total: vec4<f32>, f: Affine) -> vec4<f32> {
    if (HAS_OFFSET) { return f.scale * sums + f.offset * dot(total, vec4<f32>(1.0)); }
    return f.scale * sums;
}
