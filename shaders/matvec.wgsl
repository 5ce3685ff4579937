#import grid
#import state
#import state_to_read
#import product
#import bytes
#import quads
#import team
#import weights
#import math
#import prologue
#import output
// Products with COLS columns, few of them. A team owns SIDE neighbouring quads of rows at a time: lanes SIDE apart share a quad's
// granules, so that neighbouring lanes read neighbouring units. A workgroup owns a tile of eight quads, however many teams it holds.
// A column's sums come in the same order whatever COLS is. x has room for whole tiles of COLS columns.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let n_tokens = state.n_tokens;
    let column_tiles = select((n_tokens + COLS - 1u) / COLS, 1u, params.only_last == 1u);
    let tile = linear_group(group, n_groups);
    let first = (tile / column_tiles) * 8u;
    let column = select((tile % column_tiles) * COLS, n_tokens - 1u, params.only_last == 1u);
    for (var i = team(inv) * SIDE; i < 8u; i += n_teams(inv) * SIDE) {
        let quad = first + i + lane(inv) % SIDE;
        let at = at_quad(min(quad, n_quads() - 1u));
        #repeat c COLS
        let base_$c = (column + $cu) * params.x_stride;
        var sums_$c = vec4<f32>(0.0);
        var squares_$c = 0.0;
        #end
        for (var granule = lane(inv) / SIDE; granule < 2u * STEPS; granule += n_lanes(inv) / SIDE) {
            let step = granule / 2u;
            let g = granule % 2u;
            let scales = load_scales(at, step);
            let codes = load_codes(at, step, g);
            #repeat c COLS
            var part_$c = Part();
            var total_$c = Total();
            #end
            #repeat j 8
            {
                let f = affine(scales, g, $ju / 4u);
                let w = operand(codes, $ju, f);
                #repeat c COLS
                let raw_$c = x[base_$c + granule * 8u + $ju];
                let v_$c = weigh(raw_$c, granule * 8u + $ju);
                part_$c = multiplied(part_$c, w, v_$c);
                total_$c = tally(total_$c, v_$c);
                squares_$c += square(raw_$c);
                #end
                if (($ju + 1u) % VEC4S_PER_SUM == 0u) {
                    #repeat c COLS
                    sums_$c += finished(part_$c, total_$c, 1.0, f);
                    part_$c = Part();
                    total_$c = Total();
                    #end
                }
            }
            #end
        }
        #repeat c COLS
        sums_$c = strided_sum4(inv, sums_$c, SIDE);
        if (NORMED) { sums_$c *= norm_scale(strided_sum4(inv, vec4<f32>(squares_$c), SIDE).x); }
        if (lane(inv) < SIDE && quad < n_quads() && column + $cu < n_tokens) {
            store(target_of(quad), select(column + $cu, 0u, params.only_last == 1u), sums_$c);
        }
        #end
    }
}
