// A team is a subgroup: no shared memory, no barrier. A workgroup of WG threads holds n_teams of them, whatever their size.
struct Invocation {
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
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
fn team_max(inv: Invocation, v: f32) -> f32 { return subgroupMax(v); }
