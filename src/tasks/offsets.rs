//! Places in a text, counted as whoever reads them counts: tokenizers give bytes, Python counts characters, JavaScript counts
//! units of UTF-16.

use std::ops::Range;

/// What places in a text are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Unicode scalar values, as Python and transformers do.
    #[default]
    Characters,
    /// As JavaScript's strings do.
    Utf16,
}

/// How many units lie before each byte of a text.
pub(super) struct Offsets {
    /// For each byte, and for the end: units before the character that it is part of.
    before: Vec<u32>,
}

impl Offsets {
    pub(super) fn new(text: &str, unit: Unit) -> Self {
        let (mut before, mut n) = (Vec::with_capacity(text.len() + 1), 0);
        for character in text.chars() {
            before.resize(before.len() + character.len_utf8(), n);
            n += match unit {
                Unit::Characters => 1,
                Unit::Utf16 => character.len_utf16() as u32,
            };
        }
        before.push(n);
        Self { before }
    }

    /// A range of bytes in units; an end inside a character means behind it.
    pub(super) fn of(&self, bytes: &Range<usize>) -> Range<usize> {
        let last = self.before.len() - 1;
        let start = self.before[bytes.start.min(last)];
        let mut end = bytes.end.min(last);
        while end > 0 && end < last && bytes.end > bytes.start && self.before[end] == self.before[end - 1] {
            end += 1;
        }
        start as usize..self.before[end] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_both_units() {
        // 1, 2, 3 and 4 bytes; the last is two units of UTF-16.
        let text = "aé中😀b";
        let bytes = text.find('😀').unwrap();
        let (characters, utf16) = (Offsets::new(text, Unit::Characters), Offsets::new(text, Unit::Utf16));
        assert_eq!(characters.of(&(bytes..bytes + 4)), 3..4);
        assert_eq!(utf16.of(&(bytes..bytes + 4)), 3..5);
        assert_eq!(characters.of(&(bytes + 4..text.len())), 4..5);
        assert_eq!(utf16.of(&(bytes + 4..text.len())), 5..6);
    }

    #[test]
    fn an_end_inside_a_character_means_behind_it() {
        let offsets = Offsets::new("é!", Unit::Characters);
        assert_eq!((offsets.of(&(0..1)), offsets.of(&(1..2)), offsets.of(&(2..2))), (0..1, 0..1, 1..1));
    }
}
