#import grid
// Makes every token impossible that a column's mask does not allow: its logit becomes −inf, written as bits since WGSL has no word
// for it. The sampler and log-probabilities then see the others alone. One thread per token of each column.
struct Params {
    n_cols: u32,    // vocabulary size
    stride: u32,    // floats per column of logits
    n_words: u32,   // words of a column's mask, a bit per token
    n_columns: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> allowed: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<u32>;

const IMPOSSIBLE: u32 = 0xFF800000u; // −inf

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, n_groups) * WG + local;
    let column = i / params.n_cols;
    let token = i % params.n_cols;
    if (column >= params.n_columns) { return; }
    let word = allowed[column * params.n_words + token / 32u];
    if (((word >> (token % 32u)) & 1u) == 0u) { logits[column * params.stride + token] = IMPOSSIBLE; }
}
