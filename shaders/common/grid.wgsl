// The linear index of a workgroup: Rust folds grids over 65535 into y.
fn linear_group(group: vec3<u32>, n_groups: vec3<u32>) -> u32 { return group.x + group.y * n_groups.x; }
