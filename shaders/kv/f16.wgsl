#import cache_row
// The KV cache as half floats, two to a word: needs no f16 in the shader.
alias KvPair = u32;
alias KvQuad = vec2<u32>;
fn pack_pair(v: vec2<f32>) -> KvPair { return pack2x16float(v); }
fn unpack_quad(v: KvQuad) -> vec4<f32> { return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn k_scale(row: u32) -> f32 { return 1.0; }
fn v_scale(row: u32) -> f32 { return 1.0; }
