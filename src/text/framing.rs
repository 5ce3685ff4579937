//! What stands around one text and between two, and how tokens are shown to people.

use super::pieces::find;
use super::tokenizer::{Span, Tokenizer};
use crate::error::Result;
use serde::Deserialize as _;
use serde_json::Value;
use tokenizers::{Decoder as _, DecoderWrapper};

/// Token ids as an encoder takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// The texts' ids with the special ones around and between them.
    pub ids: Vec<u32>,
    /// Where the first text begins, and the second of a pair.
    pub begins: [usize; 2],
    /// Tokens from here on are of the second type; the end where there is none.
    pub second: usize,
}

impl Tokenizer {
    /// How many special tokens `frame` adds.
    pub fn frame_len(&self, is_pair: bool) -> usize {
        let marks = self.marks();
        marks.prefix.len() + marks.suffix.len() + if is_pair { self.between().len() } else { 0 }
    }

    /// `first`, and `second` behind it where texts are pairs, with what the model expects around and between them.
    pub fn frame(&self, first: &[u32], second: Option<&[u32]>) -> Framed {
        let marks = self.marks();
        let mut ids = marks.prefix.clone();
        let mut begins = [ids.len(); 2];
        ids.extend_from_slice(first);
        if let Some(second) = second {
            ids.extend_from_slice(self.between());
            begins[1] = ids.len();
            ids.extend_from_slice(second);
        }
        ids.extend_from_slice(&marks.suffix);
        let is_typed = second.is_some() && marks.second_is_typed;
        Framed { second: if is_typed { begins[1] } else { ids.len() }, begins, ids }
    }

    /// What stands between two texts: what ends one, where the file does not say.
    fn between(&self) -> &[u32] {
        let marks = self.marks();
        marks.between.as_deref().unwrap_or(&marks.suffix)
    }

    /// As `encode_spans`, each place without the spaces that the token includes, where the tokenizer leaves them out.
    pub fn encode_words(&self, text: &str) -> Result<Vec<Span>> {
        let mut spans = self.encode_spans(text)?;
        if self.trims_offsets {
            for Span { bytes, .. } in &mut spans {
                let Some(slice) = text.get(bytes.clone()) else { continue };
                bytes.start += slice.len() - slice.trim_start_matches(' ').len();
                bytes.end = bytes.start + slice.trim_matches(' ').len();
            }
        }
        Ok(spans)
    }

    /// Tokens as they are spelled, joined to a text as the tokenizer's own decoder does.
    pub fn join(&self, tokens: Vec<String>) -> String {
        match &self.decoder {
            Some(decoder) => decoder.decode(tokens).unwrap_or_default(),
            None => tokens.join(" "),
        }
    }

    /// The token of what the vocabulary cannot spell.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// The token that stands for a hidden one.
    pub fn mask(&self) -> Option<u32> {
        self.marks().mask
    }

    /// Whether tokens that continue a word are spelled so, as WordPiece's are.
    pub fn marks_continuations(&self) -> bool {
        self.marks_continuations
    }
}

/// The file's decoder, of the kinds that encoders have and that no file can make slow.
pub(super) fn decoder(file: &Value) -> Option<DecoderWrapper> {
    let decoder = file.get("decoder")?;
    let is_plain = matches!(decoder.get("type")?.as_str()?, "WordPiece" | "ByteLevel" | "Metaspace");
    DecoderWrapper::deserialize(decoder).ok().filter(|_| is_plain)
}

/// Whether the file leaves the spaces of tokens out of their places.
pub(super) fn trims_offsets(file: &Value) -> bool {
    let processor = file.get("post_processor");
    let part = find(processor, "RobertaProcessing").or_else(|| find(processor, "ByteLevel"));
    part.is_some_and(|part| part.get("trim_offsets").and_then(Value::as_bool).unwrap_or(true))
}

/// Whether a prefix marks tokens that continue a word.
pub(super) fn marks_continuations(file: &Value) -> bool {
    let prefix = file.get("model").and_then(|model| model.get("continuing_subword_prefix")).and_then(Value::as_str);
    prefix.is_some_and(|prefix| !prefix.is_empty())
}

/// The model's unknown token, by its text or its id.
pub(super) fn unknown(file: &Value, id: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let model = file.get("model")?;
    match model.get("unk_token").and_then(Value::as_str) {
        Some(text) => id(text),
        None => model.get("unk_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()),
    }
}
