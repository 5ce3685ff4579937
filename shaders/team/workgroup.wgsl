// A team is the whole workgroup, for devices without subgroups: a tree over shared memory. Browsers take a struct of builtins for
// non-uniform as a whole: what decides before a barrier (workgroup_id) comes to `main` beside it.
struct Invocation {
    @builtin(local_invocation_index) local: u32,
}
var<workgroup> team_scratch: array<vec4<f32>, WG>;
fn team(inv: Invocation) -> u32 { return 0u; }
fn n_teams(inv: Invocation) -> u32 { return 1u; }
fn lane(inv: Invocation) -> u32 { return inv.local; }
fn n_lanes(inv: Invocation) -> u32 { return WG; }
// The sum of v over the lanes a multiple of `stride` apart, a power of two.
fn strided_sum4(inv: Invocation, v: vec4<f32>, stride: u32) -> vec4<f32> {
    team_scratch[inv.local] = v;
    workgroupBarrier();
    for (var step = WG / 2u; step >= stride; step /= 2u) {
        if (inv.local < step) { team_scratch[inv.local] += team_scratch[inv.local + step]; }
        workgroupBarrier();
    }
    let sum = team_scratch[inv.local % stride];
    workgroupBarrier();
    return sum;
}
fn team_sum4(inv: Invocation, v: vec4<f32>) -> vec4<f32> { return strided_sum4(inv, v, 1u); }
fn team_sum(inv: Invocation, v: f32) -> f32 { return team_sum4(inv, vec4<f32>(v, 0.0, 0.0, 0.0)).x; }
fn team_max4(inv: Invocation, v: vec4<f32>) -> vec4<f32> {
    team_scratch[inv.local] = v;
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if (inv.local < step) { team_scratch[inv.local] = max(team_scratch[inv.local], team_scratch[inv.local + step]); }
        workgroupBarrier();
    }
    let best = team_scratch[0];
    workgroupBarrier();
    return best;
}
fn team_max(inv: Invocation, v: f32) -> f32 { return team_max4(inv, vec4<f32>(v)).x; }

// Every lane's v to every lane: publish, then hear any lane's, then release.
fn publish(inv: Invocation, v: vec4<f32>) {
    team_scratch[inv.local] = v;
    workgroupBarrier();
}
fn hear(v: vec4<f32>, lane: u32) -> vec4<f32> { return team_scratch[lane]; }
fn release() { workgroupBarrier(); }

// Lanes share nothing cheaply here: each loads for itself.
fn share_lane(inv: Invocation) -> u32 { return 0u; }
fn share_sum(inv: Invocation, v: f32) -> f32 { return v; }
fn share_max(v: vec4<f32>) -> f32 {
    let pairs = max(abs(v.xy), abs(v.zw));
    return max(pairs.x, pairs.y);
}
