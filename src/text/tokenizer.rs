//! Text to token ids and back: the `tokenizers` library behind checks, with the begin and end tokens of a model.
//! Holds no file access and no chat template.

use super::framing;
use super::gguf_vocab;
use super::marks::{Marks, id_of};
use super::pieces::{Pieces, Spelling};
use super::precheck::{self, Role, Vocabulary};
use super::reply;
use super::stream::TextStream;
use crate::error::{Error, Result};
use crate::format::checkpoint::Config;
use crate::format::{Checkpoint, Metadata};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::{
    AddedVocabulary, DecoderWrapper, Model, NormalizedString, Normalizer, OffsetType, PreTokenizer, Token,
};

/// A character of the private use area that chat templates put inside a special token's text in a message, so that it
/// is not parsed as that token. `encode_prompt` drops it after parsing.
pub(super) const SENTINEL: char = '\u{E0F5}';

/// The files beside a `tokenizer.json` that say which tokens begin and end a text, parsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SideFiles<'a> {
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a Value>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<&'a Value>,
    /// `generation_config.json`.
    pub generation_config: Option<&'a Value>,
    /// `config.json`.
    pub config: Option<&'a Value>,
}

/// A token of a text and the bytes it stands for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Token id.
    pub id: u32,
    /// Its bytes in the text; empty for the tokens around a document.
    pub bytes: Range<usize>,
    /// Which word of the text it belongs to, as the model splits words; `None` for the tokens around a document.
    pub word: Option<u32>,
}

/// A model's tokenizer.
pub struct Tokenizer {
    name: String,
    library: tokenizers::Tokenizer,
    /// The added tokens, the special ones of which are left to be plain text.
    plain_added: AddedVocabulary,
    pieces: Pieces,
    specials: Vec<String>,
    /// Special tokens that structure an answer.
    answer_marks: HashMap<u32, &'static str>,
    /// Special tokens and bytes: their names in a text are text.
    unspelled: HashSet<u32>,
    marks: Marks,
    strips_first_space: bool,
    /// Joins tokens to a text.
    pub(super) decoder: Option<DecoderWrapper>,
    pub(super) unknown: Option<u32>,
    pub(super) trims_offsets: bool,
    pub(super) marks_continuations: bool,
}

impl Tokenizer {
    /// The tokenizer of an opened model: from a GGUF's own vocabulary, else `tokenizer.json`, else `vocab.txt`.
    pub async fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let config = match checkpoint.config() {
            Config::Gguf(metadata) => return Self::from_gguf(checkpoint.name(), metadata),
            Config::HuggingFace(config) => config,
        };
        let tokenizer_config = side_json(checkpoint, "tokenizer_config.json").await?;
        let special_tokens_map = side_json(checkpoint, "special_tokens_map.json").await?;
        let generation_config = side_json(checkpoint, "generation_config.json").await?;
        let side = SideFiles {
            tokenizer_config: tokenizer_config.as_ref(),
            special_tokens_map: special_tokens_map.as_ref(),
            generation_config: generation_config.as_ref(),
            config: Some(config),
        };
        let (name, file) = folder_file(checkpoint, side.tokenizer_config).await?;
        Self::from_file(name, file, &side)
    }

    /// Reads a `tokenizer.json`; `name` is what to call it in messages. Truncation, padding and dropout that the file
    /// asks for are ignored.
    pub fn from_json(name: &str, bytes: &[u8], side: &SideFiles<'_>) -> Result<Self> {
        Self::from_file(name, precheck::parse(name, bytes)?, side)
    }

    /// Builds the tokenizer of a GGUF file from its own vocabulary; `name` is what to call it in messages.
    pub fn from_gguf(name: &str, metadata: &Metadata) -> Result<Self> {
        let file = gguf_vocab::to_json(name, metadata)?;
        let tokens = precheck::check(name, &file)?;
        let marks = gguf_vocab::marks(name, metadata, &tokens)?;
        Self::build(name, file, tokens, marks)
    }

    /// Builds the WordPiece tokenizer of an older BERT folder from its `vocab.txt`, one token per line.
    pub fn from_vocab_txt(name: &str, vocab: &str, side: &SideFiles<'_>) -> Result<Self> {
        Self::from_file(name, vocab_txt(name, vocab, side.tokenizer_config)?, side)
    }

    fn from_file(name: &str, file: Value, side: &SideFiles<'_>) -> Result<Self> {
        let tokens = precheck::check(name, &file)?;
        let marks = Marks::read(name, &file, &tokens, side)?;
        Self::build(name, file, tokens, marks)
    }

    fn build(name: &str, mut file: Value, tokens: Vocabulary, marks: Marks) -> Result<Self> {
        let spelling = Spelling::of(&file);
        let strips_first_space = spelling.strips_first_space(&file);
        let (decoder, trims_offsets) = (framing::decoder(&file), framing::trims_offsets(&file));
        let marks_continuations = framing::marks_continuations(&file);
        let unknown = framing::unknown(&file, |text| id_of(&tokens, text));
        prepare(&mut file, &tokens);
        let library = guard(name, || serde_json::from_value::<tokenizers::Tokenizer>(file).map_err(Into::into))?;
        let mut plain_added = library.get_added_vocabulary().clone();
        plain_added.set_encode_special_tokens(true);

        let (mut specials, mut unspelled, mut answer_marks) = (Vec::new(), HashSet::new(), HashMap::new());
        for (id, token) in (0_u32..).zip(&tokens) {
            let Some(token) = token else { continue };
            if token.role == Role::Special || spelling.is_byte(&token.text) {
                unspelled.insert(id);
            }
            if token.role != Role::Word && library.token_to_id(&token.text) != Some(id) {
                return Err(Error::format(name, format!("the added token {:?} cannot have id {id}", token.text)));
            }
            if token.role == Role::Special {
                specials.push(token.text.clone());
                let mark = reply::MARKS.iter().find(|mark| **mark == token.text);
                answer_marks.extend(mark.map(|mark| (id, *mark)));
            }
        }
        let ends: HashSet<u32> = marks.ends.iter().copied().collect();
        let pieces = Pieces::new(&tokens, &spelling, |id| ends.contains(&id));
        let name = name.to_owned();
        Ok(Self {
            name,
            library,
            plain_added,
            pieces,
            specials,
            answer_marks,
            unspelled,
            marks,
            strips_first_space,
            decoder,
            unknown,
            trims_offsets,
            marks_continuations,
        })
    }

    /// Token ids of a plain text: no begin or end token is added, and the text of a special token stays text.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>> {
        Ok(ids(self.encode(&self.plain_added, text)?))
    }

    /// As `encode_text`, each token with its place in the text.
    pub fn encode_spans(&self, text: &str) -> Result<Vec<Span>> {
        self.encode(&self.plain_added, text)
    }

    /// Token ids of a prompt that a chat template rendered: special tokens in it are parsed, and it begins with the begin
    /// token once if the model wants one.
    pub fn encode_prompt(&self, rendered: &str) -> Result<Vec<u32>> {
        let mut prompt = self.encode_marked(rendered)?;
        if let Some(bos) = self.added_bos()
            && prompt.first() != Some(&bos)
        {
            prompt.insert(0, bos);
        }
        Ok(prompt)
    }

    /// Token ids of a plain text with what the model expects around it: the begin token for decoders, `[CLS]` and `[SEP]`
    /// for BERT. The text of a special token stays text.
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.frame(&self.encode_text(text)?, None).ids)
    }

    /// Token ids of a text in which special tokens are meant, such as one for a hidden word. Nothing is added around it.
    pub fn encode_marked(&self, text: &str) -> Result<Vec<u32>> {
        Ok(ids(self.encode(self.library.get_added_vocabulary(), text)?))
    }

    /// The library's own steps, with our choice of added tokens and the sentinel dropped once special tokens are found.
    fn encode(&self, added: &AddedVocabulary, text: &str) -> Result<Vec<Span>> {
        guard(&self.name, || {
            let normalizer = WithoutSentinel(self.library.get_normalizer());
            let mut splits = added.extract_and_normalize(Some(&normalizer), text);
            if let Some(pre_tokenizer) = self.library.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut splits)?;
            }
            splits.tokenize(|word| self.tokenize_word(word.get()))?;
            let encoding = splits.into_encoding(None, 0, OffsetType::Byte)?;
            let tokens = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
            Ok(tokens.map(|((id, (start, end)), word)| Span { id: *id, bytes: *start..*end, word: *word }).collect())
        })
    }

    /// The model's tokens of a word. A special token or a byte whose name the model reads in a text (a unigram model has
    /// them among its pieces) was not meant: the word is cut inside it, after its first character.
    fn tokenize_word(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        let tokens = self.library.get_model().tokenize(word)?;
        let cuts = tokens.iter().filter(|token| self.unspelled.contains(&token.id)).filter_map(|token| {
            let (start, end) = token.offsets;
            let text = word.get(start..end)?;
            let first = text.chars().next()?.len_utf8();
            (first < text.len() && self.token(token.id)? == text).then_some(start + first)
        });
        let cuts: Vec<usize> = cuts.collect();
        if cuts.is_empty() {
            return Ok(tokens);
        }
        let (mut parts, mut start) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([word.len()]) {
            let part = self.tokenize_word(&word[start..cut])?;
            parts.extend(part.into_iter().map(|token| {
                let (from, to) = token.offsets;
                Token { offsets: (start + from, start + to), ..token }
            }));
            start = cut;
        }
        Ok(parts)
    }

    /// The text of these ids; bytes that are no UTF-8 become U+FFFD. Special tokens have no text.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = TextStream::new(self);
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// The bytes of one token, a leading space included. Special and end tokens have none, nor do unknown ids.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id)
    }

    /// The text of a special token that structures an answer, such as the one before a call.
    pub fn answer_mark(&self, id: u32) -> Option<&str> {
        self.answer_marks.get(&id).copied()
    }

    /// A token as the vocabulary spells it: `Ġthe`, `▁the`, `<|im_end|>`.
    pub fn token(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.library.token_to_id(token)
    }

    /// The begin token, whether texts get it or not.
    pub fn bos(&self) -> Option<u32> {
        self.marks.bos
    }

    /// The end token that templates call `eos_token`.
    pub fn eos(&self) -> Option<u32> {
        self.marks.eos
    }

    /// The begin token if prompts and documents get it.
    pub fn added_bos(&self) -> Option<u32> {
        self.marks.bos.filter(|bos| self.marks.prefix.contains(bos))
    }

    /// Whether this token ends an answer.
    pub fn is_end(&self, id: u32) -> bool {
        self.marks.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end an answer, ascending.
    pub fn end_tokens(&self) -> &[u32] {
        &self.marks.ends
    }

    /// One more than the highest id.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// What stands around texts and ends answers.
    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Whether this is a special token: control, not text.
    pub fn is_special(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| self.specials.contains(&token))
    }

    /// The texts of the special tokens.
    pub fn special_tokens(&self) -> &[String] {
        &self.specials
    }

    /// Whether a decoded text loses the space before its first word.
    pub(super) fn strips_first_space(&self) -> bool {
        self.strips_first_space
    }
}

/// A folder's `tokenizer.json`, or one that says what its `vocab.txt` does; and the name of the file that was read.
pub(super) async fn folder_file(
    checkpoint: &Checkpoint,
    tokenizer_config: Option<&Value>,
) -> Result<(&'static str, Value)> {
    let name = "tokenizer.json";
    if let Some(bytes) = checkpoint.side_text(name).await? {
        return Ok((name, precheck::parse(name, &bytes)?));
    }
    let name = "vocab.txt";
    match checkpoint.side_text(name).await? {
        Some(bytes) => Ok((name, vocab_txt(name, &String::from_utf8_lossy(&bytes), tokenizer_config)?)),
        None => Err(Error::format(checkpoint.name(), "it has no tokenizer.json and no vocab.txt")),
    }
}

/// One token per line, as a `tokenizer.json` says it.
fn vocab_txt(name: &str, vocab: &str, tokenizer_config: Option<&Value>) -> Result<Value> {
    let lower_case = tokenizer_config.and_then(|file| file.get("do_lower_case")).and_then(Value::as_bool);
    let words = vocab.lines().map(str::to_owned).collect::<Vec<_>>();
    gguf_vocab::word_piece(name, &words, lower_case.unwrap_or(true))
}

/// A JSON file beside the weights, where there is one.
pub(super) async fn side_json(checkpoint: &Checkpoint, name: &str) -> Result<Option<Value>> {
    let bytes = checkpoint.side_text(name).await?;
    bytes.map(|bytes| precheck::parse(name, &bytes)).transpose()
}

fn ids(spans: Vec<Span>) -> Vec<u32> {
    spans.into_iter().map(|span| span.id).collect()
}

/// Leaves the library what it needs for encoding: begin and end tokens, decoding and cutting are ours. Added tokens go
/// into the model's vocabulary, for the library numbers unknown ones itself, and special ones match the raw text.
fn prepare(file: &mut Value, tokens: &Vocabulary) {
    for key in ["truncation", "padding", "post_processor", "decoder"] {
        file[key] = Value::Null;
    }
    file["model"]["dropout"] = Value::Null;
    if let Some(vocab) = file["model"].get_mut("vocab").and_then(Value::as_object_mut) {
        for (id, token) in tokens.iter().enumerate() {
            if let Some(token) = token.as_ref().filter(|token| token.role != Role::Word) {
                vocab.insert(token.text.clone(), json!(id));
            }
        }
    }
    for token in file.get_mut("added_tokens").and_then(Value::as_array_mut).into_iter().flatten() {
        for (key, default) in
            [("single_word", false), ("lstrip", false), ("rstrip", false), ("normalized", false), ("special", false)]
        {
            if token.get(key).and_then(Value::as_bool).is_none() {
                token[key] = Value::Bool(default);
            }
        }
        if token["special"] == Value::Bool(true) {
            token["normalized"] = Value::Bool(false);
        }
    }
}

/// Runs a call into the library: its errors and, where panics unwind, its panics become `Error::Format`.
fn guard<T>(name: &str, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::format(name, format!("the tokenizer library refuses it: {error}"))),
        Err(_) => Err(Error::format(name, "the tokenizer library fails on it")),
    }
}

/// The file's normalizer behind a filter that drops the sentinel.
struct WithoutSentinel<'a>(Option<&'a tokenizers::NormalizerWrapper>);

impl Normalizer for WithoutSentinel<'_> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        if text.get().contains(SENTINEL) {
            text.filter(|character| character != SENTINEL);
        }
        self.0.map_or(Ok(()), |normalizer| normalizer.normalize(text))
    }
}
