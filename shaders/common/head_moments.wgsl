// Norms of q and k: each head by itself, or all heads of a column together where NORM_ALL is 1.

// Sum and sum of squares about `mean` of n values of x from pair `first`.
fn sums_of(inv: Invocation, first: u32, n: u32, mean: f32) -> vec2<f32> {
    var sums = vec2<f32>(0.0);
    for (var i = lane(inv); i < n / 2u; i += n_lanes(inv)) {
        let v = x[first + i] - mean;
        sums += vec2<f32>(v.x + v.y, dot(v, v));
    }
    return team_sum4(inv, vec4<f32>(sums, 0.0, 0.0)).xy;
}

// Where the values stand that a head of q or k is normed among: first pair and number.
fn normed_among(head: u32) -> vec2<u32> {
    if (NORM_ALL == 0u) { return vec2<u32>(head * (HEAD_DIM / 2u), HEAD_DIM); }
    if (head < params.n_heads) { return vec2<u32>(0u, params.n_heads * HEAD_DIM); }
    return vec2<u32>(params.n_heads * (HEAD_DIM / 2u), params.n_kv_heads * HEAD_DIM);
}

// The weights of two pairs of values of a head.
fn head_weights(head: u32, pairs: vec2<u32>) -> vec4<f32> {
    let is_q = head < params.n_heads;
    let of_kind = select(head - params.n_heads, head, is_q);
    let at = select(params.k_norm, params.q_norm, is_q) + of_kind * params.norm_stride;
    let a = vectors[at + pairs.x / 2u];
    let b = vectors[at + pairs.y / 2u];
    return vec4<f32>(select(a.xy, a.zw, pairs.x % 2u == 1u), select(b.xy, b.zw, pairs.y % 2u == 1u));
}

// The values normed, where they are of q or k.
fn normed(v: vec4<f32>, moments: vec2<f32>, head: u32, pairs: vec2<u32>) -> vec4<f32> {
    if (head >= params.n_heads + params.n_kv_heads) { return v; }
    return (v - moments.x) * moments.y * head_weights(head, pairs);
}
