// No rotation.
fn quad_values(t: u32) -> vec4<u32> { return vec4<u32>(4u * t) + vec4<u32>(0u, 1u, 2u, 3u); }
fn rotate(v: vec4<f32>, t: u32, position: u32) -> vec4<f32> { return v; }
