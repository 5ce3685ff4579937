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
// Products with one column. A team owns SIDE neighbouring quads of rows at a time: lanes SIDE apart share a quad's granules, so that
// neighbouring lanes read neighbouring units. A workgroup owns a tile of eight quads, however many teams it holds.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * 8u;
    let column = state.n_tokens - 1u;
    let base = column * params.x_stride;
    for (var i = team(inv) * SIDE; i < 8u; i += n_teams(inv) * SIDE) {
        let quad = first + i + lane(inv) % SIDE;
        let at = at_quad(min(quad, n_quads() - 1u));
        var sums = vec4<f32>(0.0);
        var squares = 0.0;
        for (var granule = lane(inv) / SIDE; granule < 2u * STEPS; granule += n_lanes(inv) / SIDE) {
            let step = granule / 2u;
            let g = granule % 2u;
            let scales = load_scales(at, step);
            let codes = load_codes(at, step, g);
            var part = Part();
            var total = Total();
            #repeat j 8
            {
                let raw = x[base + granule * 8u + $ju];
                let v = weigh(raw, granule * 8u + $ju);
                let f = affine(scales, g, $ju / 4u);
                part = multiplied(part, operand(codes, $ju, f), v);
                total = tally(total, v);
                squares += square(raw);
                if (($ju + 1u) % VEC4S_PER_SUM == 0u) {
                    sums += finished(part, total, 1.0, f);
                    part = Part();
                    total = Total();
                }
            }
            #end
        }
        sums = strided_sum4(inv, sums, SIDE);
        if (NORMED) { sums *= norm_scale(strided_sum4(inv, vec4<f32>(squares), SIDE).x); }
        if (lane(inv) < SIDE && quad < n_quads()) { store(target_of(quad), select(column, 0u, params.only_last == 1u), sums); }
    }
}
