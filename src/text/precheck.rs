//! What a `tokenizer.json` must be before the library sees it: the library trusts its files and panics, hangs or
//! allocates without bound on wrong ones. Holds no loading and no encoding.

use crate::error::{Error, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Bytes of a `tokenizer.json`; the largest real ones have about 35 MB.
pub(super) const MAX_FILE_BYTES: usize = 64 << 20;
/// Nesting of its JSON.
const MAX_DEPTH: usize = 64;
/// Token ids lie below this.
pub(super) const MAX_VOCAB: u64 = 1 << 20;
/// Bytes of one token's text.
const MAX_TOKEN_BYTES: usize = 4 << 10;
/// WordPiece gives up on longer words; its search is quadratic in this.
const MAX_WORD_CHARS: u64 = 1_000;
/// Bytes that one match of a normalizer may be replaced by.
const MAX_REPLACEMENT_BYTES: usize = 16;
/// How many times longer all replacements together may make a text.
const MAX_GROWTH: usize = 64;
/// Bytes of one splitting pattern.
const MAX_PATTERN_BYTES: usize = 4 << 10;

/// How a token came into the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A token of the model, spelled in its own alphabet.
    Word,
    /// Added to it, spelled as in the text.
    Added,
    /// Added and special: control, not text.
    Special,
}

/// One token as the file spells it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its text, in the model's alphabet for words.
    pub(super) text: String,
    /// How it came in.
    pub(super) role: Role,
}

/// Tokens by id; ids that the file leaves out are `None`.
pub(super) type Vocabulary = Vec<Option<Entry>>;

/// Parses the file, bounded in size and depth.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Value> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Error::Limit {
            what: format!("{name}: bytes of a tokenizer"),
            needed: bytes.len() as u64,
            available: MAX_FILE_BYTES as u64,
        });
    }
    if depth(bytes) > MAX_DEPTH {
        return Err(Error::format(name, format!("JSON nested deeper than {MAX_DEPTH}")));
    }
    serde_json::from_slice(bytes).map_err(|error| Error::format(name, format!("JSON wanted: {error}")))
}

/// The deepest nesting of brackets outside strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Checks the whole file and returns its tokens by id.
pub(super) fn check(name: &str, file: &Value) -> Result<Vocabulary> {
    let checker = Checker { name };
    let model = file.get("model").and_then(Value::as_object).ok_or_else(|| checker.wrong("it has no model"))?;
    let mut tokens = checker.model(model)?;
    checker.added_tokens(file.get("added_tokens"), &mut tokens)?;
    let mut growth = 1;
    checker.normalizer(file.get("normalizer"), &mut growth)?;
    checker.pre_tokenizer(file.get("pre_tokenizer"))?;
    Ok(tokens)
}

/// The items of a list field; none when it is absent or no list.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

struct Checker<'a> {
    name: &'a str,
}

impl Checker<'_> {
    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::format(self.name, reason)
    }

    fn model(&self, model: &Map<String, Value>) -> Result<Vocabulary> {
        let kind = model.get("type").and_then(Value::as_str).unwrap_or("without a type");
        match kind {
            "BPE" => self.bpe(model),
            "WordPiece" => self.word_piece(model),
            "WordLevel" => self.vocab_map(model).map(|(tokens, _)| tokens),
            "Unigram" => self.unigram(model),
            other => Err(Error::unsupported(format!(
                "{}: a tokenizer model {other} (BPE, WordPiece, WordLevel and Unigram are)",
                self.name
            ))),
        }
    }

    /// A `vocab` of token to id, and the set of its texts.
    fn vocab_map<'m>(&self, model: &'m Map<String, Value>) -> Result<(Vocabulary, HashSet<&'m str>)> {
        let vocab = model.get("vocab").and_then(Value::as_object);
        let vocab = vocab.ok_or_else(|| self.wrong("model.vocab must map tokens to ids"))?;
        let mut tokens = Vocabulary::new();
        for (text, id) in vocab {
            let entry = Entry { text: text.clone(), role: Role::Word };
            self.insert(&mut tokens, id, entry)?;
        }
        if let Some(unknown) = model.get("unk_token").and_then(Value::as_str)
            && !vocab.contains_key(unknown)
        {
            return Err(self.wrong(format!("the unknown token {unknown:?} is not in the vocabulary")));
        }
        if tokens.is_empty() {
            return Err(self.wrong("the vocabulary is empty"));
        }
        Ok((tokens, vocab.keys().map(String::as_str).collect()))
    }

    /// Puts `entry` at `id`; a second token there is an error unless it is the same.
    fn insert(&self, tokens: &mut Vocabulary, id: &Value, entry: Entry) -> Result<()> {
        let text = &entry.text;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(self.wrong(format!("a token has {} bytes, at most {MAX_TOKEN_BYTES} are", text.len())));
        }
        let id = id.as_u64().filter(|id| *id < MAX_VOCAB);
        let id = id.ok_or_else(|| self.wrong(format!("token {text:?}: its id must be in 0..{MAX_VOCAB}")))? as usize;
        if tokens.len() <= id {
            tokens.resize(id + 1, None);
        }
        match &tokens[id] {
            Some(present) if present.text != *text => {
                Err(self.wrong(format!("id {id} belongs to {:?} and to {text:?}", present.text)))
            }
            _ => {
                tokens[id] = Some(entry);
                Ok(())
            }
        }
    }

    fn bpe(&self, model: &Map<String, Value>) -> Result<Vocabulary> {
        let (tokens, texts) = self.vocab_map(model)?;
        let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or("");
        if let Some(dropout) = model.get("dropout").and_then(Value::as_f64)
            && !(0.0..=1.0).contains(&dropout)
        {
            return Err(self.wrong(format!("dropout must be in [0, 1], not {dropout}")));
        }
        let merges = model.get("merges").and_then(Value::as_array);
        for merge in merges.ok_or_else(|| self.wrong("model.merges must be a list"))? {
            if merge.as_str().is_some_and(|line| line.starts_with("#version")) {
                continue;
            }
            let (left, right) = merge_parts(merge).ok_or_else(|| self.wrong(format!("merge {merge} is no pair")))?;
            let Some(rest) = right.strip_prefix(prefix) else {
                return Err(self.wrong(format!("merge {merge}: its second part does not begin with {prefix:?}")));
            };
            let whole = format!("{left}{rest}");
            for part in [left, right, whole.as_str()] {
                if part.is_empty() || !texts.contains(part) {
                    return Err(self.wrong(format!("merge {merge}: {part:?} is not in the vocabulary")));
                }
            }
        }
        Ok(tokens)
    }

    fn word_piece(&self, model: &Map<String, Value>) -> Result<Vocabulary> {
        let (tokens, texts) = self.vocab_map(model)?;
        let unknown = model.get("unk_token").and_then(Value::as_str).unwrap_or("[UNK]");
        if !texts.contains(unknown) {
            return Err(self.wrong(format!("the unknown token {unknown:?} is not in the vocabulary")));
        }
        let max_chars = model.get("max_input_chars_per_word").map_or(Some(100), Value::as_u64);
        if !max_chars.is_some_and(|max| (1..=MAX_WORD_CHARS).contains(&max)) {
            return Err(self.wrong(format!("max_input_chars_per_word must be in 1..={MAX_WORD_CHARS}")));
        }
        Ok(tokens)
    }

    fn unigram(&self, model: &Map<String, Value>) -> Result<Vocabulary> {
        let pieces = model.get("vocab").and_then(Value::as_array);
        let pieces = pieces.ok_or_else(|| self.wrong("model.vocab must list pieces and scores"))?;
        let mut tokens = Vocabulary::new();
        for (id, piece) in pieces.iter().enumerate() {
            let text = piece.get(0).and_then(Value::as_str).filter(|text| !text.is_empty());
            let score = piece.get(1).and_then(Value::as_f64).filter(|score| score.abs() < 1e9);
            let (Some(text), Some(_)) = (text, score) else {
                return Err(self.wrong(format!("piece {id} must be a text and a score, it is {piece}")));
            };
            let entry = Entry { text: text.to_owned(), role: Role::Word };
            self.insert(&mut tokens, &Value::from(id), entry)?;
        }
        let unknown = model.get("unk_id").filter(|id| !id.is_null());
        if tokens.is_empty() || unknown.is_some_and(|id| id.as_u64().is_none_or(|id| id >= tokens.len() as u64)) {
            return Err(self.wrong(format!("unk_id must be one of the {} pieces", tokens.len())));
        }
        Ok(tokens)
    }

    fn added_tokens(&self, added: Option<&Value>, tokens: &mut Vocabulary) -> Result<()> {
        let mut ids: HashMap<&str, &Value> = HashMap::new();
        for token in list(added) {
            let text = token.get("content").and_then(Value::as_str).filter(|text| !text.is_empty());
            let (Some(text), Some(id)) = (text, token.get("id")) else {
                return Err(self.wrong("an added token must have an id and a content"));
            };
            if ids.insert(text, id).is_some_and(|before| before != id) {
                return Err(self.wrong(format!("the added token {text:?} has two ids")));
            }
            let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
            let role = if special { Role::Special } else { Role::Added };
            self.insert(tokens, id, Entry { text: text.to_owned(), role })?;
        }
        Ok(())
    }

    /// `growth` is how many times longer the normalizers so far may make a text.
    fn normalizer(&self, normalizer: Option<&Value>, growth: &mut usize) -> Result<()> {
        let Some(normalizer) = normalizer.filter(|value| !value.is_null()) else { return Ok(()) };
        match normalizer.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                let parts = list(normalizer.get("normalizers"));
                parts.iter().try_for_each(|part| self.normalizer(Some(part), growth))
            }
            Some("Replace") => {
                let content = normalizer.get("content").and_then(Value::as_str).unwrap_or("");
                let pattern = self.pattern(normalizer.get("pattern"))?;
                if content.len() > MAX_REPLACEMENT_BYTES {
                    let n = content.len();
                    return Err(self.wrong(format!("a Replace of {n} bytes, at most {MAX_REPLACEMENT_BYTES} are")));
                }
                *growth *= content.len().div_ceil(pattern.min_match_bytes()).max(1);
                if *growth > MAX_GROWTH {
                    return Err(self.wrong(format!("its normalizers make a text more than {MAX_GROWTH} times longer")));
                }
                Ok(())
            }
            Some("Prepend") => {
                let prefix = normalizer.get("prepend").and_then(Value::as_str).unwrap_or("");
                if prefix.len() > MAX_REPLACEMENT_BYTES {
                    let n = prefix.len();
                    return Err(self.wrong(format!("a Prepend of {n} bytes, at most {MAX_REPLACEMENT_BYTES} are")));
                }
                Ok(())
            }
            Some("Precompiled") => self.charsmap(normalizer.get("precompiled_charsmap")),
            _ => Ok(()),
        }
    }

    fn pattern<'v>(&self, pattern: Option<&'v Value>) -> Result<Pattern<'v>> {
        let find = |kind| pattern.and_then(|value| value.get(kind)).and_then(Value::as_str);
        let pattern = match (find("String"), find("Regex")) {
            (Some(text), _) => Pattern::Text(text),
            (None, Some(regex)) => Pattern::Regex(regex),
            (None, None) => return Err(self.wrong("a pattern must be a String or a Regex")),
        };
        let (Pattern::Text(text) | Pattern::Regex(text)) = pattern;
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            let n = text.len();
            return Err(self.wrong(format!("a pattern must have 1 to {MAX_PATTERN_BYTES} bytes, not {n}")));
        }
        Ok(pattern)
    }

    /// A SentencePiece character map: a length word, that many bytes of trie, the texts.
    fn charsmap(&self, map: Option<&Value>) -> Result<()> {
        let bytes = map.and_then(Value::as_str).and_then(|text| BASE64_STANDARD.decode(text).ok());
        let trie = bytes.as_ref().and_then(|bytes| bytes.split_first_chunk::<4>());
        let fits = trie.is_some_and(|(length, rest)| {
            let length = u32::from_le_bytes(*length) as usize;
            length >= 1024 && length.is_multiple_of(1024) && length <= rest.len()
        });
        if fits { Ok(()) } else { Err(self.wrong("its precompiled_charsmap is cut or its length lies")) }
    }

    fn pre_tokenizer(&self, pre_tokenizer: Option<&Value>) -> Result<()> {
        let Some(pre_tokenizer) = pre_tokenizer.filter(|value| !value.is_null()) else { return Ok(()) };
        match pre_tokenizer.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                let parts = list(pre_tokenizer.get("pretokenizers"));
                parts.iter().try_for_each(|part| self.pre_tokenizer(Some(part)))
            }
            Some("Split") => self.pattern(pre_tokenizer.get("pattern")).map(|_| ()),
            Some("FixedLength") if pre_tokenizer.get("length").and_then(Value::as_u64) == Some(0) => {
                Err(self.wrong("a FixedLength of 0"))
            }
            _ => Ok(()),
        }
    }
}

/// What a normalizer or splitter looks for.
enum Pattern<'v> {
    Text(&'v str),
    Regex(&'v str),
}

impl Pattern<'_> {
    /// The fewest bytes that one match has.
    fn min_match_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Regex(_) => 1,
        }
    }
}

/// Both spellings of a merge: `["a", "b"]` and `"a b"`.
fn merge_parts(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(pair) => match pair.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}
