// Scales go to the weights, once for all columns that share them.
fn scaled(codes: Quad, f: Affine) -> Quad {
    return Quad(
        f.scale.x * codes.a + f.offset.x,
        f.scale.y * codes.b + f.offset.y,
        f.scale.z * codes.c + f.offset.z,
        f.scale.w * codes.d + f.offset.w,
    );
}
fn tally(total: vec4<f32>, v: vec4<f32>) -> vec4<f32> { return total; }
fn finished(sums: vec4<f32>, total: vec4<f32>, f: Affine) -> vec4<f32> { return sums; }
