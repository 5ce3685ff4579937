//! Token ids to text as they come: whole UTF-8 characters only, and stop strings found across tokens.

use super::tokenizer::Tokenizer;

/// Streaming decoder: ids in, whole UTF-8 text out. All its pieces together are what `Tokenizer::decode` gives.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Bytes of a character that is not complete yet.
    pending: Vec<u8>,
    /// A leading space is still to be dropped.
    strips: bool,
    /// Special tokens that structure an answer are spelled.
    spells_marks: bool,
}

impl<'a> TextStream<'a> {
    /// A stream at the beginning of a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { strips: tokenizer.strips_first_space(), ..Self::continuing(tokenizer) }
    }

    /// A stream that continues a text: a space before its first word is part of it.
    pub fn continuing(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, pending: Vec::new(), strips: false, spells_marks: false }
    }

    /// A stream that continues a text and spells the special tokens that structure an answer, as `ReplyParser` wants them.
    pub fn spelling_marks(tokenizer: &'a Tokenizer) -> Self {
        Self { spells_marks: true, ..Self::continuing(tokenizer) }
    }

    /// Takes one token and returns the text that is complete with it; bytes that cannot become UTF-8 give one U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        let mark = if self.spells_marks { self.tokenizer.answer_mark(id) } else { None };
        let mut piece = mark.map_or_else(|| self.tokenizer.piece(id), str::as_bytes);
        if self.strips && !piece.is_empty() {
            piece = piece.strip_prefix(b" ").unwrap_or(piece);
            self.strips = false;
        }
        self.pending.extend_from_slice(piece);
        take_complete(&mut self.pending)
    }

    /// What is left at the end: one U+FFFD for an incomplete character.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }
}

/// Takes the whole characters off the front of `bytes`.
fn take_complete(bytes: &mut Vec<u8>) -> String {
    let incomplete = match bytes.utf8_chunks().last() {
        // An invalid tail that ends the bytes may be the beginning of a character: only its length tells.
        Some(chunk) if !chunk.invalid().is_empty() => {
            let tail = chunk.invalid();
            match std::str::from_utf8(tail) {
                Err(error) if error.error_len().is_none() => tail.len(),
                _ => 0,
            }
        }
        _ => 0,
    };
    let rest = bytes.split_off(bytes.len() - incomplete);
    let complete = String::from_utf8_lossy(bytes).into_owned();
    *bytes = rest;
    complete
}

/// What may be shown after a piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// Text that no stop string can claim any more.
    pub text: String,
    /// A stop string was found; it and what follows it are dropped.
    pub stopped: bool,
}

/// Finds stop strings in streamed text, however it is cut into pieces. The match that is complete first wins.
#[derive(Clone, Debug, Default)]
pub struct StopFinder {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl StopFinder {
    /// Looks for these texts; empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, ..Self::default() }
    }

    /// Takes a piece of text and returns what may be shown. After a stop nothing is.
    pub fn push(&mut self, text: &str) -> Emit {
        if self.stopped {
            return Emit { text: String::new(), stopped: true };
        }
        self.held.push_str(text);
        let matches = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = matches.min() {
            self.stopped = true;
            self.held.truncate(start);
            return Emit { text: std::mem::take(&mut self.held), stopped: true };
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Emit { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back when the text ends without a stop.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that are the beginning of `stop`, not all of it.
pub(super) fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|n| text.as_bytes().ends_with(&stop.as_bytes()[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(stops: &[&str]) -> StopFinder {
        StopFinder::new(&stops.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn stop_strings_are_found_however_text_is_cut() {
        let text = "one User\nUser:\ntwo";
        for n in 1..text.len() {
            let mut finder = stop(&["User:\n", "nothing"]);
            let mut shown = String::new();
            let mut stopped = false;
            for piece in text.as_bytes().chunks(n) {
                let emit = finder.push(std::str::from_utf8(piece).unwrap());
                shown.push_str(&emit.text);
                stopped = emit.stopped;
            }
            assert!(stopped);
            assert_eq!(shown, "one User\n", "pieces of {n}");
        }
    }

    #[test]
    fn the_match_complete_first_wins() {
        for pieces in [vec!["xabcd"], vec!["xabc", "d"], vec!["x", "a", "b", "c", "d"]] {
            let mut finder = stop(&["abcd", "bc"]);
            let shown: String = pieces.iter().map(|piece| finder.push(piece).text).collect();
            assert_eq!(shown, "xa");
        }
        let mut prefix = stop(&["ab", "abc"]);
        assert_eq!(prefix.push("xabc"), Emit { text: "x".into(), stopped: true });
    }

    #[test]
    fn held_text_comes_back_at_the_end() {
        let mut finder = stop(&["héllo", ""]);
        assert_eq!(finder.push("say hél"), Emit { text: "say ".into(), stopped: false });
        assert_eq!(finder.finish(), "hél");
    }

    #[test]
    fn bytes_stream_as_the_whole_decodes() {
        let texts: [&[u8]; 5] =
            ["aé€🫠z".as_bytes(), b"\x85", b"a\xf0\x9f", b"\xf0\x9f\x61\xff\xc3\xa9", b"\xe2\x82\xe2\x82\xac"];
        for bytes in texts {
            let (mut pending, mut streamed) = (Vec::new(), String::new());
            for byte in bytes {
                pending.push(*byte);
                streamed.push_str(&take_complete(&mut pending));
            }
            streamed.push_str(&String::from_utf8_lossy(&pending));
            assert_eq!(streamed, String::from_utf8_lossy(bytes));
        }
    }
}
