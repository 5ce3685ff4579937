#import grid
#import state
#import state_to_read
#import team
#import norm_kind
#import residual
// y[column] = normalized x[column], perhaps + residual[column]: RMSNorm (arXiv 1910.07467) or LayerNorm (arXiv 1607.06450). A team per column.
struct Params {
    n_cols: u32, // values per column
    stride: u32, // vec4s per column of x and y
    norm: u32,   // the weight's start in `vectors`, in vec4s
    bias: u32,
    eps: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// 1 for the values of a column, 0 for the padding after them.
fn inside(k4: u32) -> vec4<f32> {
    let k = vec4<u32>(4u * k4) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), vec4<f32>(1.0), k < vec4<u32>(params.n_cols));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    inv: Invocation,
) {
    let first = linear_group(group, n_groups) * COLS;
    for (var c = team(inv); c < COLS; c += n_teams(inv)) {
        let column = min(first + c, state.n_tokens - 1u);
        let base = column * params.stride;
        var mean = 0.0;
        if (CENTERED) {
            var sum = 0.0;
            for (var i = lane(inv); i < params.stride; i += n_lanes(inv)) { sum += dot(x[base + i], inside(i)); }
            mean = team_sum(inv, sum) / f32(params.n_cols);
        }
        var squares = 0.0;
        for (var i = lane(inv); i < params.stride; i += n_lanes(inv)) {
            let v = (x[base + i] - mean) * inside(i);
            squares += dot(v, v);
        }
        let scale = inverseSqrt(team_sum(inv, squares) / f32(params.n_cols) + params.eps);
        if (first + c < state.n_tokens) {
            for (var i = lane(inv); i < params.stride; i += n_lanes(inv)) {
                let v = (x[base + i] - mean) * scale * vectors[params.norm + i] + shift(i);
                y[base + i] = add_residual(v * inside(i), base + i);
            }
        }
    }
}
