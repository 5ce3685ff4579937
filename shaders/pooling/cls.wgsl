fn pooled(seen: vec2<u32>, k4: u32) -> vec4<f32> { return x[seen.x * params.x_stride + k4]; }
