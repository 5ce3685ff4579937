// A column sees its own position and all before it.
fn span(column: u32) -> vec2<u32> { return vec2<u32>(0u, position_of(column) + 1u); }
