// Keys and values of this step alone, by column: on their way to a cache whose rows want to be seen whole.
alias KvPair = vec2<f32>;
fn pack_pair(v: vec2<f32>) -> KvPair { return v; }
fn row_of(kv_head: u32, column: u32, position: u32) -> u32 { return kv_head * params.context_len + column; }
