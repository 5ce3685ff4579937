#import grid
#import state
#import product
#import bytes
#import k_scale
#import team
#import weights
#import prologue
#import output
// Products with one column. A team owns a quad of rows at a time and its lanes share their granules; a workgroup owns PER_GROUP quads,
// however many teams it holds.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * PER_GROUP;
    let column = state.n_tokens - 1u;
    let base = column * params.x_stride;
    for (var i = team(inv); i < PER_GROUP; i += n_teams(inv)) {
        let quad = first + i;
        let rows = rows_of(min(quad, n_quads() - 1u));
        var sums = vec4<f32>(0.0);
        var squares = 0.0;
        for (var g = lane(inv); g < params.granules; g += n_lanes(inv)) {
            let a = load_granule(rows.x, g);
            let b = load_granule(rows.y, g);
            let c = load_granule(rows.z, g);
            let d = load_granule(rows.w, g);
            #repeat j 8
            {
                let raw = x[base + g * 8u + $ju];
                let w = Quad(dequant4(a, $ju), dequant4(b, $ju), dequant4(c, $ju), dequant4(d, $ju));
                sums += dots(w, weigh(raw, g * 8u + $ju));
                squares += square(raw);
            }
            #end
        }
        sums = team_sum4(inv, sums);
        if (NORMED) { sums *= norm_scale(team_sum(inv, squares)); }
        if (lane(inv) == 0u && quad < n_quads()) { store(quad, select(column, 0u, params.only_last == 1u), sums); }
    }
}
