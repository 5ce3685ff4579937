#import grid
// Reads all of x once and keeps a sum, so that nothing can be left out: the device's read bandwidth. x in memory order:
// neighbouring threads read neighbouring vec4s.
struct Params { n: u32, n_threads: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let thread = linear_group(group, n_groups) * WG + local;
    var sum = vec4<u32>(0u);
    for (var i = thread; i < params.n; i += params.n_threads) { sum += x[i]; }
    if (thread < params.n_threads) { y[thread] = sum.x + sum.y + sum.z + sum.w; }
}
