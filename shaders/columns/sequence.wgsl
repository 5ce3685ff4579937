// Columns are neighbours in the sequence of one slot: a prompt, or one token.
fn position_of(column: u32) -> u32 { return state.position + column; }
fn slot_of(column: u32) -> u32 { return state.slot; }

// Queries of one kv head in tiles of `rows`: they share their keys, so a tile goes on from column to column.
fn n_tiles(group: u32, rows: u32) -> u32 { return (state.n_tokens * group + rows - 1u) / rows; }
// Column and head in the group of row r of a tile; past the step, a column that is none.
fn query_of(tile: u32, r: u32, group: u32, rows: u32) -> vec2<u32> {
    let query = tile * rows + r;
    return vec2<u32>(query / group, query % group);
}
