#import grid
#import arith
// Arithmetic and nothing else: the device's rate for a type of element. A thread steps CHAINS values, each step waiting for the
// last of its own chain alone, so that latency does not bound; the results are kept, so that nothing can be left out.
struct Params { n_steps: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let thread = linear_group(group, n_groups) * WG + local;
    let w = start(params.pad0 + 64u);
    var chains: array<Value, CHAINS>;
    for (var c = 0u; c < CHAINS; c++) { chains[c] = start(thread + c); }
    for (var i = 0u; i < params.n_steps; i += UNROLL) {
        for (var j = 0u; j < UNROLL; j++) {
            for (var c = 0u; c < CHAINS; c++) { chains[c] = step(chains[c], w); }
        }
    }
    var kept_all = 0u;
    for (var c = 0u; c < CHAINS; c++) { kept_all ^= kept(chains[c]); }
    y[thread] = kept_all;
}
