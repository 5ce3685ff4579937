// A column sees its own position and those before it, or the last `window` of them.
fn span(column: u32) -> Span {
    let end = position_of(column) + 1u;
    return Span(0u, end - min(end, params.window), end);
}
