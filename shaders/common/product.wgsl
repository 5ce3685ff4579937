// Params and bindings of products of weights and activations: matvec, matmul.
struct Params {
    planes: vec4<u32>, // start of each weight plane, in vec4s
    n_rows: u32,       // rows of this part
    first_row: u32,    // where they stand in y
    n_cols: u32,       // weights per row
    granules: u32,     // of 32 weights, per row
    x_stride: u32,     // vec4s per column of x
    y_stride: u32,     // floats per column of y
    norm: u32,         // the prologue's norm weight, its start in `vectors` in vec4s
    bias: u32,         // the bias, likewise
    eps: f32,          // of the prologue's norm
    out_column: u32,   // 0: y holds the same columns as x; 1: y holds the last column alone
    pad0: u32,
    pad1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
