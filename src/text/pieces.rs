//! The bytes of every token: how each family of tokenizers spells them. Holds no encoding.

use super::precheck::{Entry, Role, Vocabulary, list};
use serde_json::Value;

/// How the words of a vocabulary spell bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's: one printable character per byte.
    ByteLevel,
    /// SentencePiece's: `▁` is a space, `<0x0A>` a byte.
    Spaced,
    /// WordPiece's: a prefix continues a word, everything else begins one.
    WordPiece {
        /// Usually `##`.
        prefix: String,
    },
}

impl Spelling {
    /// What a `tokenizer.json` uses, read from its decoder, else from its pre-tokenizer and model.
    pub(super) fn of(file: &Value) -> Self {
        let (decoder, pre_tokenizer) = (file.get("decoder"), file.get("pre_tokenizer"));
        if find(decoder, "ByteLevel").is_some() || find(pre_tokenizer, "ByteLevel").is_some() {
            return Self::ByteLevel;
        }
        let model = file.get("model");
        if model.and_then(|model| model.get("type")).and_then(Value::as_str) == Some("WordPiece") {
            let prefix = model.and_then(|model| model.get("continuing_subword_prefix")).and_then(Value::as_str);
            return Self::WordPiece { prefix: prefix.unwrap_or("##").to_owned() };
        }
        Self::Spaced
    }

    /// Whether a decoded text loses the space before its first word.
    pub(super) fn strips_first_space(&self, file: &Value) -> bool {
        let decoder = file.get("decoder");
        match self {
            Self::ByteLevel => false,
            Self::WordPiece { .. } => true,
            Self::Spaced => {
                let strips = |strip: &Value| strip.get("start").and_then(Value::as_u64).is_some_and(|n| n > 0);
                let never = |space: &Value| space.get("prepend_scheme").and_then(Value::as_str) == Some("never");
                find(decoder, "Strip").is_some_and(strips) || find(decoder, "Metaspace").is_some_and(|m| !never(m))
            }
        }
    }

    /// Whether this is the name of a byte.
    pub(super) fn is_byte(&self, text: &str) -> bool {
        *self == Self::Spaced && byte_token(text).is_some()
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => {
                text.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| text.as_bytes().to_vec())
            }
            Self::Spaced => match byte_token(text) {
                Some(byte) => vec![byte],
                None => text.replace('▁', " ").into_bytes(),
            },
            Self::WordPiece { prefix } => match text.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.as_bytes().to_vec(),
                None => format!(" {text}").into_bytes(),
            },
        }
    }
}

/// The first part of this type in a possibly nested decoder or pre-tokenizer.
pub(super) fn find<'v>(value: Option<&'v Value>, kind: &str) -> Option<&'v Value> {
    let value = value?;
    if value.get("type").and_then(Value::as_str) == Some(kind) {
        return Some(value);
    }
    let parts = ["decoders", "pretokenizers", "processors", "normalizers"];
    parts.iter().flat_map(|key| list(value.get(key))).find_map(|part| find(Some(part), kind))
}

/// Inverse of GPT-2's map of bytes to printable characters: printable bytes are themselves, the other 68 follow U+0100.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => printable(byte).then_some(byte),
        Err(_) => (0..=u8::MAX).filter(|byte| !printable(*byte)).nth(code.checked_sub(0x100)? as usize),
    }
}

/// The character that spells `byte` in a byte-level vocabulary.
#[cfg(test)]
fn char_of(byte: u8) -> char {
    (0..0x200).filter_map(char::from_u32).find(|c| byte_of(*c) == Some(byte)).unwrap()
}

/// `<0x0A>` is byte 10: exactly two hexadecimal digits.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let exact = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if exact { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The bytes of all tokens, one after another.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
}

impl Pieces {
    /// Spells every token; special ones and unused ids are empty.
    pub(super) fn new(tokens: &Vocabulary, spelling: &Spelling, is_silent: impl Fn(u32) -> bool) -> Self {
        let mut pieces = Self::default();
        for (id, token) in (0_u32..).zip(tokens) {
            match token {
                Some(Entry { text, role: Role::Word }) if !is_silent(id) => {
                    pieces.bytes.extend_from_slice(&spelling.bytes(text));
                }
                Some(Entry { text, role: Role::Added }) if !is_silent(id) => match spelling {
                    // Gemma adds runs of spaces and spells them as SentencePiece does.
                    Spelling::Spaced => pieces.bytes.extend_from_slice(text.replace('▁', " ").as_bytes()),
                    Spelling::ByteLevel | Spelling::WordPiece { .. } => pieces.bytes.extend_from_slice(text.as_bytes()),
                },
                _ => {}
            }
            // At most 2^20 tokens of 4 KiB: below 2^32.
            pieces.ends.push(pieces.bytes.len() as u32);
        }
        pieces
    }

    /// The bytes of one token; empty for an id out of range.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        let spelled: String = (0..=255).map(char_of).collect();
        assert_eq!(Spelling::ByteLevel.bytes(&spelled), (0..=255).collect::<Vec<u8>>());
        assert_eq!((char_of(b' '), char_of(b'\n')), ('Ġ', 'Ċ'));
    }

    #[test]
    fn byte_tokens_are_two_hex_digits() {
        assert_eq!(byte_token("<0x0A>"), Some(10));
        for wrong in ["<0x-1>", "<0xZZ>", "<0x+1>", "<0x1>", "<0x001>", "0x0A"] {
            assert_eq!(byte_token(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spellings_give_bytes() {
        assert_eq!(Spelling::Spaced.bytes("▁once▁"), b" once ");
        assert_eq!(Spelling::WordPiece { prefix: "##".into() }.bytes("##ing"), b"ing");
        assert_eq!(Spelling::WordPiece { prefix: "##".into() }.bytes("sing"), b" sing");
    }

    #[test]
    fn added_tokens_are_spelled_as_the_text_has_them() {
        let added = |text: &str| Some(Entry { text: text.into(), role: Role::Added });
        let special = Some(Entry { text: "<s>".into(), role: Role::Special });
        let tokens = vec![added("▁▁"), added("<0x41>"), None, special];
        let spaced = Pieces::new(&tokens, &Spelling::Spaced, |_| false);
        assert_eq!((spaced.get(0), spaced.get(1), spaced.get(3)), (&b"  "[..], &b"<0x41>"[..], &b""[..]));
        assert_eq!(Pieces::new(&tokens, &Spelling::ByteLevel, |_| false).get(0), "▁▁".as_bytes());
    }
}
