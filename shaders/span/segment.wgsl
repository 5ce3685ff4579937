// A column sees its own text of a ragged batch: first and one-past-last column.
fn span(column: u32) -> vec2<u32> { return spans[column]; }
