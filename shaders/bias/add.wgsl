// The bias, by fours and by pairs of its values. params.bias: its start in `vectors`, in vec4s.
fn bias4(at: u32) -> vec4<f32> { return vectors[params.bias + at]; }
fn bias2(at: u32) -> vec2<f32> {
    let four = bias4(at / 2u);
    return select(four.xy, four.zw, at % 2u == 1u);
}
