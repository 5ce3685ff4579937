fn pooled(seen: vec2<u32>, k4: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var column = seen.x; column < seen.y; column++) { sum += x[column * params.x_stride + k4]; }
    return sum / f32(seen.y - seen.x);
}
