#import grid
#import state
#import state_to_read
#import product
#import bytes
#import quads
#import team
#import share
#import weights
#import math
#import prologue
#import output
// Products with COLS columns at a time. A thread owns a quad of rows × COLS columns and walks K alone: weights are read once per
// COLS columns, no barrier. GRANULES, 1 or 2, are unrolled: the code of many columns fills an instruction cache as it is. Where there are subgroups, lanes load x for each other. x has room for whole tiles of COLS columns.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let n_tokens = state.n_tokens;
    let column_tiles = select((n_tokens + COLS - 1u) / COLS, 1u, params.only_last == 1u);
    let tile = linear_group(group, n_groups);
    let first = (tile / column_tiles) * WG;
    let quad = first + inv.local;
    // Whole teams leave: those that stay have all their lanes to load x.
    if (first + team(inv) * n_lanes(inv) >= n_quads()) { return; }
    let column = select((tile % column_tiles) * COLS, n_tokens - 1u, params.only_last == 1u);
    let own = min(quad, n_quads() - 1u);
    let at = at_quad(own);
    let lane = share_lane(inv);
    #repeat c COLS
    let base_$c = (column + $cu) * params.x_stride;
    var sums_$c = vec4<f32>(0.0);
    var squares_$c = 0.0;
    #end
    // Counted by ones to a constant: of any other loop a browser does not believe that it ends, and guards it.
    for (var round = 0u; round < 2u * STEPS / GRANULES; round++) {
        let granule = round * GRANULES;
        let step = granule / 2u;
        let scales = load_scales(at, step);
        #repeat g GRANULES
        {
            let g = (granule + $gu) % 2u;
            let codes = load_codes(at, step, g);
            #repeat c COLS
            var part_$c = Part();
            var total_$c = Total();
            #end
            #repeat l LOADS
            {
                let k4 = (granule + $gu) * 8u + $lu * LANES + lane;
                #repeat c COLS
                let raw_$c = x[base_$c + k4];
                let weighed_$c = weigh(raw_$c, k4);
                let range_$c = range(weighed_$c);
                let x_$c = value(weighed_$c, range_$c);
                squares_$c += square(raw_$c);
                #end
                #repeat j LANES
                {
                    const J = $lu * LANES + $ju;
                    let f = affine(scales, g, J / 4u);
                    let w = operand(codes, J, f);
                    #repeat c COLS
                    let v_$c = shared_$j(x_$c);
                    part_$c = multiplied(part_$c, w, v_$c);
                    total_$c = tally(total_$c, v_$c);
                    #end
                    if ((J + 1u) % VEC4S_PER_SUM == 0u) {
                        #repeat c COLS
                        sums_$c += finished(part_$c, total_$c, range_$c, f);
                        part_$c = Part();
                        total_$c = Total();
                        #end
                    }
                }
                #end
            }
            #end
        }
        #end
    }
    let to = target_of(own);
    #repeat c COLS
    if (NORMED) { sums_$c *= norm_scale(share_sum(inv, squares_$c)); }
    #end
    // A loop: unrolled, what becomes of columns was up to two fifths of the code.
    var all: array<vec4<f32>, COLS>;
    #repeat c COLS
    all[$c] = sums_$c;
    #end
    for (var c = 0u; c < COLS; c++) {
        if (quad < n_quads() && column + c < n_tokens) {
            store(to, select(column + c, 0u, params.only_last == 1u), all[c]);
        }
    }
}
