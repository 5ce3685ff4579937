#import grid
#import state
#import product
#import bytes
#import k_scale
#import weights
#import bias
#import activation
#import residual
// y[column][row] = activate(W[row]·x[column] + bias) + residual for all columns of the step. A thread owns 4 rows × COLS
// columns and walks K alone: no shared memory, no barrier. x and y have room for whole tiles of COLS columns.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = linear_group(group, n_groups) * WG + local;
    let row_tiles = (params.n_rows + 3u) / 4u;
    let row = (tile % row_tiles) * 4u;
    let column = (tile / row_tiles) * COLS;
    if (column >= state.n_tokens) { return; }
    let last = params.n_rows - 1u;
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));
    var sums: array<vec4<f32>, COLS>;
    for (var g = 0u; g < params.granules; g++) {
        let w0 = load_granule(rows.x, g);
        let w1 = load_granule(rows.y, g);
        let w2 = load_granule(rows.z, g);
        let w3 = load_granule(rows.w, g);
        for (var j = 0u; j < 8u; j++) {
            let d0 = dequant4(w0, j);
            let d1 = dequant4(w1, j);
            let d2 = dequant4(w2, j);
            let d3 = dequant4(w3, j);
            for (var c = 0u; c < COLS; c++) {
                let v = x[(column + c) * params.x_stride + g * 8u + j];
                sums[c] += vec4<f32>(dot(d0, v), dot(d1, v), dot(d2, v), dot(d3, v));
            }
        }
    }
    for (var c = 0u; c < COLS; c++) {
        if (column + c >= state.n_tokens) { break; }
        let y_base = (column + c) * params.y_stride;
        for (var i = 0u; i < 4u; i++) {
            if (row + i <= last) {
                let at = params.first_row + row + i;
                y[y_base + at] = add_residual(activate(add_bias(sums[c][i], at)), y_base + at);
            }
        }
    }
}
