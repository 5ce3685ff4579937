// Params and bindings of products of weights and activations: matvec, matmul.
struct Params {
    planes: vec4<u32>, // start of each weight plane, in vec4s
    n_rows: u32,       // rows of this part
    first_row: u32,    // where they stand in y
    n_cols: u32,       // weights per row
    x_stride: u32,     // vec4s per column of x
    y_stride: u32,     // floats per column of y
    norm: u32,         // the prologue's norm weight, its start in `vectors` in vec4s
    bias: u32,         // the bias, likewise
    eps: f32,          // of the prologue's norm
    only_last: u32,    // 1: the step's last column alone, which becomes column 0 of y
    n_heads: u32,      // of qkv: query heads,
    n_kv_heads: u32,   // key and value heads,
    context_len: u32,  // positions per kv head in the cache,
    q_stride: u32,     // floats per column of q
    n_gates: u32,      // of gated: gates, and so ups
    factor: f32,       // of a scaled residual; the bound of softcap
    pad0: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> vectors: array<vec4<f32>>;

fn n_quads() -> u32 { return (params.n_rows + 3u) / 4u; }
// The least that x is divided by: all of it may be zero.
const SMALLEST: f32 = 1e-30;

// What a normed column's products are multiplied with; `squares` is the sum of its x².
fn norm_scale(squares: f32) -> f32 { return inverseSqrt(squares / f32(params.n_cols) + params.eps); }
