// Nobody else: what each lane loaded itself.
fn shared_0(v: vec4<f32>) -> vec4<f32> { return v; }
