//! A GGUF file's own vocabulary as the `tokenizer.json` that says the same: byte-level BPE (`gpt2`), SentencePiece BPE
//! (`llama`), SentencePiece's unigrams (`t5`) and WordPiece (`bert`). Holds no loading; the result goes through the same
//! checks as any file.

use super::marks::{Marks, checked_id};
use super::pre_tokenizers::PreTokenizer;
use super::precheck::{MAX_VOCAB, Role, Vocabulary};
use crate::error::{Error, Result};
use crate::format::Metadata;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(super) mod key {
    pub(in crate::text) const MODEL: &str = "tokenizer.ggml.model";
    pub(in crate::text) const PRE: &str = "tokenizer.ggml.pre";
    pub(in crate::text) const TOKENS: &str = "tokenizer.ggml.tokens";
    pub(in crate::text) const SCORES: &str = "tokenizer.ggml.scores";
    pub(in crate::text) const TYPES: &str = "tokenizer.ggml.token_type";
    pub(in crate::text) const MERGES: &str = "tokenizer.ggml.merges";
    pub(in crate::text) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
    pub(in crate::text) const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
    pub(in crate::text) const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
    pub(in crate::text) const MERGES_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";
    pub(in crate::text) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
    pub(in crate::text) const LOWER_CASE: &str = "tokenizer.ggml.normalizer.lowercase";
    pub(in crate::text) const BOS: &str = "tokenizer.ggml.bos_token_id";
    pub(in crate::text) const EOS: &str = "tokenizer.ggml.eos_token_id";
    pub(in crate::text) const EOT: &str = "tokenizer.ggml.eot_token_id";
    pub(in crate::text) const EOM: &str = "tokenizer.ggml.eom_token_id";
    pub(in crate::text) const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
    pub(in crate::text) const CLS: &str = "tokenizer.ggml.cls_token_id";
    /// Spelled so in the format.
    pub(in crate::text) const SEP: &str = "tokenizer.ggml.seperator_token_id";
}

/// Values of `tokenizer.ggml.token_type`.
pub(super) mod token_type {
    pub(in crate::text) const NORMAL: i64 = 1;
    pub(in crate::text) const UNKNOWN: i64 = 2;
    pub(in crate::text) const CONTROL: i64 = 3;
    pub(in crate::text) const USER_DEFINED: i64 = 4;
    pub(in crate::text) const UNUSED: i64 = 5;
    pub(in crate::text) const BYTE: i64 = 6;
}

/// Spaces that SentencePiece writes into tokens.
pub(super) const SPACE: &str = "▁";
/// The unknown token of a unigram vocabulary that names none, as T5 has it.
const UNIGRAM_UNKNOWN: u64 = 2;
/// Longer tokens of a SentencePiece vocabulary are not taken apart into merges; real ones have at most 64 bytes.
const MAX_MERGED_BYTES: usize = 256;

/// The file as a `tokenizer.json`.
pub(super) fn to_json(name: &str, metadata: &Metadata) -> Result<Value> {
    let vocab = GgufVocab::read(name, metadata)?;
    match vocab.model {
        "gpt2" => vocab.byte_level(),
        "llama" => vocab.sentence_piece(),
        "t5" => vocab.unigram(),
        "bert" => {
            let lower_case = metadata.bool(key::LOWER_CASE).unwrap_or(true);
            word_piece(name, &vocab.word_piece_tokens(), lower_case)
        }
        other => Err(Error::unsupported(format!(
            "{name}: a tokenizer of kind {other} (supported are bert, gpt2, llama, t5)"
        ))),
    }
}

/// The begin and end tokens that the file's keys name.
pub(super) fn marks(name: &str, metadata: &Metadata, tokens: &Vocabulary) -> Result<Marks> {
    let id = |key: &str| metadata.uint(key).map(|id| checked_id(name, tokens, key, id)).transpose();
    let mut marks = Marks { bos: id(key::BOS)?, eos: id(key::EOS)?, ..Marks::default() };
    let model = metadata.string(key::MODEL).unwrap_or("");
    if model == "bert" {
        marks.prefix.extend(id(key::CLS)?.or(marks.bos));
        marks.suffix.extend(id(key::SEP)?.or(marks.eos));
        marks.second_is_typed = true;
        return Ok(marks);
    }
    let adds_bos = match model {
        "llama" => true,
        "gpt2" => metadata.string(key::PRE).and_then(PreTokenizer::named).is_some_and(|pre| pre.adds_bos),
        _ => false,
    };
    if metadata.bool(key::ADD_BOS).unwrap_or(adds_bos) {
        marks.prefix.extend(marks.bos);
    }
    if metadata.bool(key::ADD_EOS).unwrap_or(model == "t5") {
        marks.suffix.extend(marks.eos);
    }
    marks.ends.extend(marks.eos);
    marks.ends.extend(id(key::EOT)?);
    marks.ends.extend(id(key::EOM)?);
    marks.add_known_ends(tokens);
    Ok(marks)
}

struct GgufVocab<'a> {
    name: &'a str,
    metadata: &'a Metadata,
    model: &'a str,
    tokens: &'a [String],
    /// One per token, or none at all.
    types: &'a [i64],
}

impl<'a> GgufVocab<'a> {
    fn read(name: &'a str, metadata: &'a Metadata) -> Result<Self> {
        let wanted = |key: &str| Error::format(name, format!("it has no tokenizer: {key} is missing"));
        let model = metadata.string(key::MODEL).ok_or_else(|| wanted(key::MODEL))?;
        let tokens = metadata.strings(key::TOKENS).ok_or_else(|| wanted(key::TOKENS))?;
        let types = metadata.ints(key::TYPES).unwrap_or(&[]);
        if tokens.is_empty() || tokens.len() as u64 > MAX_VOCAB {
            return Err(Error::format(name, format!("1 to {MAX_VOCAB} tokens wanted, {} found", tokens.len())));
        }
        if !types.is_empty() && types.len() != tokens.len() {
            let (n, m) = (tokens.len(), types.len());
            return Err(Error::format(name, format!("{n} tokens have {m} entries in {}", key::TYPES)));
        }
        Ok(Self { name, metadata, model, tokens, types })
    }

    fn token_type(&self, id: usize) -> i64 {
        self.types.get(id).copied().unwrap_or(token_type::NORMAL)
    }

    /// Control tokens are special; so are user-defined ones that look like control, so that no text can forge them.
    fn role(&self, id: usize) -> Role {
        let looks_special = |text: &str| text.starts_with("<|") && text.ends_with("|>") || text.starts_with("<｜");
        let is_mark = |key: &str| self.metadata.uint(key) == Some(id as u64);
        match self.token_type(id) {
            token_type::CONTROL | token_type::UNKNOWN => Role::Special,
            token_type::BYTE => Role::Word,
            _ if [key::BOS, key::EOS, key::EOT, key::EOM].into_iter().any(is_mark) => Role::Special,
            token_type::USER_DEFINED if looks_special(&self.tokens[id]) => Role::Special,
            token_type::USER_DEFINED => Role::Added,
            _ => Role::Word,
        }
    }

    /// The `added_tokens` list.
    fn added_tokens(&self) -> Value {
        let added =
            self.tokens.iter().enumerate().filter(|(id, text)| self.role(*id) != Role::Word && !text.is_empty());
        added.map(|(id, text)| added_token(id, text, self.role(id) == Role::Special)).collect()
    }

    /// Token texts to ids. Of tokens that appear twice the first counts; the others keep their ids unused.
    fn vocab(&self) -> Map<String, Value> {
        let mut vocab = Map::with_capacity(self.tokens.len());
        for (id, text) in self.tokens.iter().enumerate() {
            vocab.entry(text.clone()).or_insert_with(|| json!(id));
        }
        vocab
    }

    /// Byte-level BPE: the file's merges behind the splitting patterns that `tokenizer.ggml.pre` names.
    fn byte_level(&self) -> Result<Value> {
        let merges = self.metadata.strings(key::MERGES).ok_or_else(|| {
            Error::format(self.name, format!("a byte-level tokenizer needs {}, which is missing", key::MERGES))
        })?;
        let pre = self.metadata.string(key::PRE).unwrap_or("default");
        let pre = PreTokenizer::named(pre).ok_or_else(|| {
            let names = PreTokenizer::names().join(", ");
            Error::unsupported(format!("{}: the pre-tokenizer {pre} (supported are {names})", self.name))
        })?;
        let mut steps: Vec<Value> = pre.patterns.iter().map(|pattern| split(pattern)).collect();
        steps.push(byte_level_step());
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added_tokens(),
            "normalizer": if pre.nfc { json!({"type": "NFC"}) } else { Value::Null },
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "decoder": byte_level_step(),
            "model": {
                "type": "BPE",
                "ignore_merges": pre.ignore_merges,
                "vocab": self.vocab(),
                "merges": merges.iter().map(|merge| merge_pair(merge)).collect::<Vec<_>>(),
            },
        }))
    }

    /// SentencePiece BPE joins the two neighbours whose joined token has the best score. The library ranks pairs, so
    /// every way to cut a token into two tokens becomes a merge, ranked by the token's score.
    fn sentence_piece(&self) -> Result<Value> {
        let scores = self.scores()?;
        let prefix = self.metadata.bool(key::ADD_SPACE).unwrap_or(true);
        let mut normalizers = Vec::new();
        if prefix {
            normalizers.push(json!({"type": "Prepend", "prepend": SPACE}));
        }
        normalizers.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.metadata.uint(key::UNKNOWN).unwrap_or(0);
        let unknown = usize::try_from(unknown).ok().and_then(|id| self.tokens.get(id));
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added_tokens(),
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": null,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE",
                "unk_token": unknown,
                "fuse_unk": true,
                "byte_fallback": true,
                "vocab": self.vocab(),
                "merges": self.merges_by_score(scores),
            },
        }))
    }

    /// SentencePiece's unigrams: the tokens whose scores have the largest sum spell a text. Control tokens cannot be left
    /// out, since a piece's place is its id; `Tokenizer` keeps texts from becoming them.
    fn unigram(&self) -> Result<Value> {
        let scores = self.scores()?;
        let unknown = self.metadata.uint(key::UNKNOWN).unwrap_or(UNIGRAM_UNKNOWN);
        let mut normalizers = Vec::new();
        if let Some(map) = self.metadata.ints(key::CHARSMAP).filter(|map| !map.is_empty()) {
            // Stored as bytes or as signed bytes.
            let bytes: Vec<u8> = map.iter().map(|byte| *byte as u8).collect();
            normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": BASE64_STANDARD.encode(bytes)}));
        }
        if self.metadata.bool(key::MERGES_SPACES).unwrap_or(false) {
            normalizers.push(json!({"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""}));
            normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
        }
        let prefix = self.metadata.bool(key::ADD_SPACE).unwrap_or(true);
        if prefix {
            // Metaspace takes a first `▁` of the text for the prefix, SentencePiece does not.
            normalizers.push(json!({"type": "Replace", "pattern": {"Regex": format!(r"\A{SPACE}")}, "content": "▁▁"}));
        }
        let prefix = if prefix { "always" } else { "never" };
        let spaces = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": prefix, "split": false});
        let piece = |(id, text): (usize, &String)| match text.as_str() {
            "" => json!([format!("[EMPTY_{id}]"), scores[id]]),
            text => json!([text, scores[id]]),
        };
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added_tokens(),
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": spaces,
            "decoder": spaces,
            "model": {
                "type": "Unigram",
                "unk_id": unknown,
                "byte_fallback": self.types.contains(&token_type::BYTE),
                "vocab": self.tokens.iter().enumerate().map(piece).collect::<Vec<_>>(),
            },
        }))
    }

    fn scores(&self) -> Result<&'a [f32]> {
        let scores = self.metadata.floats(key::SCORES).unwrap_or(&[]);
        if scores.len() != self.tokens.len() || scores.iter().any(|score| !score.is_finite()) {
            let wanted = self.tokens.len();
            return Err(Error::format(self.name, format!("{} must hold {wanted} finite numbers", key::SCORES)));
        }
        Ok(scores)
    }

    fn merges_by_score(&self, scores: &[f32]) -> Vec<[&'a str; 2]> {
        let words = self.tokens.iter().enumerate().filter(|(id, _)| self.role(*id) == Role::Word);
        let ids: HashMap<&str, usize> = words.map(|(id, text)| (text.as_str(), id)).collect();
        let mut merges = Vec::new();
        for (&text, &id) in ids.iter().filter(|(text, _)| text.len() <= MAX_MERGED_BYTES) {
            for (cut, _) in text.char_indices().skip(1) {
                let (left, right) = text.split_at(cut);
                if let (Some(&left_id), Some(&right_id)) = (ids.get(left), ids.get(right)) {
                    merges.push((id, left_id, right_id, [left, right]));
                }
            }
        }
        merges.sort_by(|a, b| scores[b.0].total_cmp(&scores[a.0]).then((a.0, a.1, a.2).cmp(&(b.0, b.1, b.2))));
        merges.into_iter().map(|merge| merge.3).collect()
    }

    /// GGUF marks the beginning of a word (`▁sing`, `ing`) where WordPiece marks its continuation (`sing`, `##ing`).
    fn word_piece_tokens(&self) -> Vec<String> {
        let spell = |text: &String| match text.strip_prefix(SPACE) {
            Some(word) => word.to_owned(),
            None if text.starts_with('[') && text.ends_with(']') => text.clone(),
            None => format!("##{text}"),
        };
        self.tokens.iter().map(spell).collect()
    }
}

/// A lower-casing or case-keeping BERT tokenizer over these tokens.
pub(super) fn word_piece(name: &str, tokens: &[String], lower_case: bool) -> Result<Value> {
    let id = |text: &str| tokens.iter().position(|token| token == text);
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let added: Vec<Value> = specials.iter().filter_map(|text| id(text).map(|id| added_token(id, text, true))).collect();
    let (Some(cls), Some(sep)) = (id("[CLS]"), id("[SEP]")) else {
        return Err(Error::format(name, "a WordPiece vocabulary needs [CLS] and [SEP]"));
    };
    let vocab: Map<String, Value> = tokens.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", cls], "sep": ["[SEP]", sep]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    }))
}

fn added_token(id: usize, text: &str, special: bool) -> Value {
    json!({
        "id": id, "content": text, "special": special,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

/// Parts of a merge are separated by the first space that is not the first character.
pub(super) fn merge_pair(merge: &str) -> [&str; 2] {
    let first = merge.chars().next().map_or(0, char::len_utf8);
    match merge[first..].find(' ') {
        Some(at) => [&merge[..first + at], &merge[first + at + 1..]],
        None => [merge, ""],
    }
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn byte_level_step() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false})
}
