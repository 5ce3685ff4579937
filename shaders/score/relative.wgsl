// + a bias by head and by how far a position is behind the column, FAR at most (MPNet, arXiv 2004.09297): (head, 2·FAR + 1).
const FAR: i32 = 128;
fn scored(v: f32, head: u32, column: u32, position: u32) -> f32 {
    let behind = clamp(i32(position) - i32(column), -FAR, FAR) + FAR;
    return v + biases[head * u32(2 * FAR + 1) + u32(behind)];
}
