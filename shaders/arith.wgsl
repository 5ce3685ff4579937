#import grid
#import arith
// Arithmetic and nothing else: the device's rate for a type of element. A thread steps 8 values, each step waiting for the last
// one of its own value alone, so that latency does not bound; the results are kept, so that nothing can be left out. Names, not an
// array: a driver may keep a local array in memory.
struct Params { n_steps: u32, w: u32, pad0: u32, pad1: u32 } // w: what the factor begins from
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let thread = linear_group(group, n_groups) * WG + local;
    let w = start(params.w);
    var a = start(thread + 0u);
    var b = start(thread + 1u);
    var c = start(thread + 2u);
    var d = start(thread + 3u);
    var e = start(thread + 4u);
    var f = start(thread + 5u);
    var g = start(thread + 6u);
    var h = start(thread + 7u);
    // Four steps at a time, so that the loop does not count.
    for (var i = 0u; i < params.n_steps; i += 4u) {
        a = next(a, w); b = next(b, w); c = next(c, w); d = next(d, w); e = next(e, w); f = next(f, w); g = next(g, w); h = next(h, w);
        a = next(a, w); b = next(b, w); c = next(c, w); d = next(d, w); e = next(e, w); f = next(f, w); g = next(g, w); h = next(h, w);
        a = next(a, w); b = next(b, w); c = next(c, w); d = next(d, w); e = next(e, w); f = next(f, w); g = next(g, w); h = next(h, w);
        a = next(a, w); b = next(b, w); c = next(c, w); d = next(d, w); e = next(e, w); f = next(f, w); g = next(g, w); h = next(h, w);
    }
    y[thread] = kept(a) ^ kept(b) ^ kept(c) ^ kept(d) ^ kept(e) ^ kept(f) ^ kept(g) ^ kept(h);
}
