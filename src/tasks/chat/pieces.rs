//! A long text in pieces of so many tokens, cut where it pauses.

use crate::error::Result;
use crate::text::Tokenizer;

/// Where a text may be cut, the best first: after a paragraph, a line, a sentence, a word.
const PAUSES: [&[&str]; 4] = [&["\n\n"], &["\n"], &[". ", "! ", "? ", "。", "！", "？"], &[" "]];

/// Bytes looked at for a token of a piece: more than languages take, so that a long text is not tokenized again for every piece.
const BYTES_PER_TOKEN: usize = 16;

/// Pieces of at most `n_tokens` tokens each, which together are `text`.
pub(super) fn pieces<'t>(tokenizer: &Tokenizer, text: &'t str, n_tokens: usize) -> Result<Vec<&'t str>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    loop {
        let window = &rest[..rest.floor_char_boundary(n_tokens * BYTES_PER_TOKEN)];
        let spans = tokenizer.encode_spans(window)?;
        let end = spans.get(n_tokens).map_or(window.len(), |beyond| beyond.bytes.start);
        if end == rest.len() {
            pieces.push(rest);
            return Ok(pieces);
        }
        let (piece, left) = rest.split_at(cut(rest, end));
        pieces.push(piece);
        rest = left;
    }
}

/// Where to cut `text` before byte `end`: at the last of its longest pauses, if that leaves no less than half.
fn cut(text: &str, end: usize) -> usize {
    let end = text.floor_char_boundary(end);
    let pauses = PAUSES.iter().filter_map(|pauses| {
        let ends = pauses.iter().filter_map(|pause| Some(text[..end].rfind(pause)? + pause.len()));
        ends.max().filter(|at| *at > end / 2)
    });
    let first = text.chars().next().map_or(0, char::len_utf8);
    pauses.into_iter().next().unwrap_or(end).max(first)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_where_they_pause() {
        for (text, end, wanted) in [
            ("One. Two.\n\nThree four", 18, "One. Two.\n\n"),
            ("One. Two three", 12, "One. Two "),
            ("One and more. Two three", 20, "One and more. "),
            ("abcdefgh", 5, "abcde"),
            ("ééé", 3, "é"),
            ("é", 1, "é"),
        ] {
            assert_eq!(&text[..cut(text, end)], wanted, "{text:?} before {end}");
        }
    }
}
