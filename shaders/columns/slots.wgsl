// Every column is a token of a slot of its own.
fn position_of(column: u32) -> u32 { return state.positions[column]; }
fn slot_of(column: u32) -> u32 { return state.slots[column]; }

// Queries of one kv head in tiles of `rows`: of one column, since no two share their keys.
fn n_tiles(group: u32, rows: u32) -> u32 { return state.n_tokens * ((group + rows - 1u) / rows); }
// Column and head in the group of row r of a tile; past the group, a column that is none.
fn query_of(tile: u32, r: u32, group: u32, rows: u32) -> vec2<u32> {
    let per_column = (group + rows - 1u) / rows;
    let head = (tile % per_column) * rows + r;
    return select(vec2<u32>(tile / per_column, head), vec2<u32>(0xFFFFFFFFu, 0u), head >= group);
}
