#import bias
#import activation
#import residual
// y = activate(W·x + bias) + residual. Quad q is rows 4q to 4q + 3.
@group(0) @binding(5) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
fn store(quad: u32, column: u32, sums: vec4<f32>) {
    let base = column * params.y_stride;
    for (var i = 0u; i < 4u; i++) {
        let row = 4u * quad + i;
        if (row < params.n_rows) {
            let at = params.first_row + row;
            y[base + at] = add_residual(activate(add_bias(sums[i], at)), base + at);
        }
    }
}
