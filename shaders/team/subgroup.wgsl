// A team is a subgroup: no shared memory, no barrier. A workgroup of WG threads holds n_teams of them, whatever their size.
struct Invocation {
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32,
    @builtin(subgroup_size) size: u32,
}
fn team(inv: Invocation) -> u32 { return inv.local / inv.size; }
fn n_teams(inv: Invocation) -> u32 { return max(1u, WG / inv.size); }
fn lane(inv: Invocation) -> u32 { return inv.in_subgroup; }
fn n_lanes(inv: Invocation) -> u32 { return min(inv.size, WG); }
fn team_sum(inv: Invocation, v: f32) -> f32 { return subgroupAdd(v); }
fn team_sum4(inv: Invocation, v: vec4<f32>) -> vec4<f32> { return subgroupAdd(v); }
// The sum of v over the lanes a multiple of `stride` apart, a power of two.
fn strided_sum4(inv: Invocation, v: vec4<f32>, stride: u32) -> vec4<f32> {
    var sum = v;
    for (var step = stride; step < n_lanes(inv); step *= 2u) { sum += subgroupShuffleXor(sum, step); }
    return sum;
}
fn team_max(inv: Invocation, v: f32) -> f32 { return subgroupMax(v); }
fn team_max4(inv: Invocation, v: vec4<f32>) -> vec4<f32> { return subgroupMax(v); }

// Every lane's v to every lane: publish, then hear any lane's, then release.
fn publish(inv: Invocation, v: vec4<f32>) {}
fn hear(v: vec4<f32>, lane: u32) -> vec4<f32> { return subgroupShuffle(v, lane); }
fn release() {}

// Of LANES neighbouring vec4s each lane loads one and hears the others (`share`); a subgroup is LANES lanes or a multiple of them.
fn share_lane(inv: Invocation) -> u32 { return inv.in_subgroup % LANES; }
// The sum of v over LANES lanes; the others hold the same again.
fn share_sum(inv: Invocation, v: f32) -> f32 { return subgroupAdd(v) * (f32(LANES) / f32(n_lanes(inv))); }
// The largest magnitude of LANES lanes' values.
fn share_max(v: vec4<f32>) -> f32 {
    let pairs = max(abs(v.xy), abs(v.zw));
    var best = max(pairs.x, pairs.y);
    for (var step = 1u; step < LANES; step *= 2u) { best = max(best, subgroupShuffleXor(best, step)); }
    return best;
}
