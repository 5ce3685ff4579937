// The row of a cache (slot, kv head, context_len) that takes a head's values at a column's position. A cache of a window is a ring.
fn row_of(kv_head: u32, column: u32, position: u32) -> u32 {
    return (slot_of(column) * params.n_kv_heads + kv_head) * params.context_len + position % params.context_len;
}
