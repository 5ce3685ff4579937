#import grid
#import state
#import product
#import bytes
#import k_scale
#import team
#import weights
#import prologue
#import bias
#import activation
#import residual
// y[row] = activate(W[row]·x + bias) + residual for one column of x: the last of the step. A team owns 4 rows at a time and
// its lanes share their granules; a workgroup owns ROWS rows however many teams it holds.
@compute @workgroup_size(WG)
fn main(inv: Invocation) {
    let first = linear_group(inv.group, inv.n_groups) * ROWS;
    let column = state.n_tokens - 1u;
    let base = column * params.x_stride;
    let scale = x_scale(inv, base);
    let last = params.n_rows - 1u;
    for (var batch = team(inv); batch < ROWS / 4u; batch += n_teams(inv)) {
        let row = first + batch * 4u;
        let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));
        var sum = vec4<f32>(0.0);
        for (var g = lane(inv); g < params.granules; g += n_lanes(inv)) {
            let w0 = load_granule(rows.x, g);
            let w1 = load_granule(rows.y, g);
            let w2 = load_granule(rows.z, g);
            let w3 = load_granule(rows.w, g);
            for (var j = 0u; j < 8u; j++) {
                let v = load_x(base, g * 8u + j);
                sum += vec4<f32>(dot(dequant4(w0, j), v), dot(dequant4(w1, j), v), dot(dequant4(w2, j), v), dot(dequant4(w3, j), v));
            }
        }
        sum = team_sum4(inv, sum) * scale;
        if (lane(inv) == 0u) {
            let y_base = select(column * params.y_stride, 0u, params.out_column == 1u);
            for (var i = 0u; i < 4u; i++) {
                if (row + i <= last) {
                    let at = params.first_row + row + i;
                    y[y_base + at] = add_residual(activate(add_bias(sum[i], at)), y_base + at);
                }
            }
        }
    }
}
