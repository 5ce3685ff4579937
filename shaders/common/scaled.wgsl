// A quad's weights of its codes.
fn scaled(codes: Quad, f: Affine) -> Quad {
    return Quad(
        f.scale.x * codes.a + f.offset.x,
        f.scale.y * codes.b + f.offset.y,
        f.scale.z * codes.c + f.offset.z,
        f.scale.w * codes.d + f.offset.w,
    );
}
