// Storage, although small: see `Access` in src/gpu/shader.rs for what uniforms that change cost.
@group(0) @binding(1) var<storage, read> state: State;
