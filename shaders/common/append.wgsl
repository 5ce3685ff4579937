// Stores quad t of a head of a column's q, k or v, rotated where it is q or k. Heads are counted over q, k, v.
fn append(head: u32, t: u32, column: u32, v4: vec4<f32>) {
    let position = position_of(column);
    let pairs = quad_values(t).xz / 2u;
    if (head < params.n_heads) {
        let r = rotate(v4, t, position);
        let at = column * (params.q_stride / 2u) + head * (HEAD_DIM / 2u);
        q[at + pairs.x] = r.xy;
        q[at + pairs.y] = r.zw;
    } else if (head < params.n_heads + params.n_kv_heads) {
        let r = rotate(v4, t, position);
        let at = row_of(head - params.n_heads, column, position) * (HEAD_DIM / 2u);
        k[at + pairs.x] = pack_pair(r.xy);
        k[at + pairs.y] = pack_pair(r.zw);
    } else {
        let at = row_of(head - params.n_heads - params.n_kv_heads, column, position) * (HEAD_DIM / 2u);
        v[at + pairs.x] = pack_pair(v4.xy);
        v[at + pairs.y] = pack_pair(v4.zw);
    }
}
