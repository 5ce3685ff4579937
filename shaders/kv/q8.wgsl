#import bytes
// The KV cache as bytes, four to a word, and behind all of them an f32 scale per row: the values of a head at a position.
alias KvQuad = u32;
fn unpack_quad(v: KvQuad) -> vec4<f32> { return signed_bytes4(v); }
fn k_scale(row: u32) -> f32 { return bitcast<f32>(k[params.scales + row]); }
fn v_scale(row: u32) -> f32 { return bitcast<f32>(v[params.scales + row]); }
