// A column sees its own text of a ragged batch (first and one-past-last column), or what of it is less than `window` columns away.
fn span(column: u32) -> Span {
    let text = spans[column];
    let begin = column - min(column - text.x, params.window - 1u);
    return Span(text.x, begin, min(text.y, column + min(params.window, text.y)));
}
