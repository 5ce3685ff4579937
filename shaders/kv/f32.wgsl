#import cache_row
// The KV cache as floats.
alias KvPair = vec2<f32>;
alias KvQuad = vec4<f32>;
fn pack_pair(v: vec2<f32>) -> KvPair { return v; }
fn unpack_quad(v: KvQuad) -> vec4<f32> { return v; }
fn k_scale(row: u32) -> f32 { return 1.0; }
fn v_scale(row: u32) -> f32 { return 1.0; }
