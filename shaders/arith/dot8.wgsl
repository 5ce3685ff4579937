// Packed 8-bit integers: a step is 4 products and 4 sums in each of 4 lanes.
alias Value = vec4<i32>;
fn start(i: u32) -> Value { return vec4<i32>(i32(i) + vec4<i32>(1, 258, 66051, 16909060)); }
fn next(v: Value, w: Value) -> Value {
    let a = bitcast<vec4<u32>>(v);
    let b = bitcast<vec4<u32>>(w);
    return v + vec4<i32>(dot4I8Packed(a.x, b.x), dot4I8Packed(a.y, b.y), dot4I8Packed(a.z, b.z), dot4I8Packed(a.w, b.w));
}
fn kept(v: Value) -> u32 { return bitcast<u32>(v.x ^ v.y ^ v.z ^ v.w); }
