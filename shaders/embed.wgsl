#import grid
#import state
#import state_to_read
#import bytes
#import quads
#import weights
#import columns
// y[column] = W[id of the column], or += where ACCUMULATE: rows of a matrix, dequantized. One dispatch per part of a split
// matrix: a part leaves columns alone whose id is not among its rows. One thread per vec4.
struct Params {
    planes: vec4<u32>, // start of each weight plane, in vec4s
    n_rows: u32,       // rows of this part
    first_row: u32,    // its first row in the whole matrix
    y_stride: u32,     // vec4s per column of y
    ids_are: u32,      // 0: by column; 1: a history, by slot and position; 2: positions themselves
    ids_stride: u32,   // ids per slot of a history
    scale: f32,        // of what is looked up
    pad0: u32,
    pad1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

fn row_of(q: Quad, row: u32) -> vec4<f32> {
    return select(select(q.a, q.b, row == 1u), select(q.c, q.d, row == 3u), row >= 2u);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_group(group, n_groups) * WG + local;
    let per_column = STEPS * 16u;
    let column = i / per_column;
    let k4 = i % per_column;
    if (column >= state.n_tokens) { return; }
    let position = position_of(column);
    let in_history = slot_of(column) * params.ids_stride + position;
    let id = select(ids[select(column, in_history, params.ids_are == 1u)], position, params.ids_are == 2u);
    if (id < params.first_row || id - params.first_row >= params.n_rows) { return; }
    let row = id - params.first_row;
    let step = k4 / 16u;
    let g = k4 / 8u % 2u;
    let j = k4 % 8u;
    let place = at_quad(row / 4u);
    let f = affine(load_scales(place, step), g, j / 4u);
    let value = params.scale * (f.scale[row % 4u] * row_of(codes4(load_codes(place, step, g), j), row % 4u) + f.offset[row % 4u]);
    let at = column * params.y_stride + k4;
    y[at] = select(value, y[at] + value, ACCUMULATE == 1u);
}
