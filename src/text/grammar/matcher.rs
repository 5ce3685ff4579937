//! Grammars by `llguidance`: a trie over the vocabulary's bytes once per model, a parser per answer.

use super::Grammar;
use crate::error::{Error, Result};
use crate::text::Tokenizer;
use llguidance::api::{GrammarInit, TopLevelGrammar};
use llguidance::panic_utils::catch_unwind;
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::Value;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// What stands before the name of a special token in the trie: no UTF-8 text holds it.
const SPECIAL: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// Grammars over the tokens of one model.
pub struct Grammars {
    factory: ParserFactory,
    n_tokens: usize,
}

/// A grammar and the tokens taken so far.
pub struct Constraint {
    matcher: Matcher,
    /// What it is called in messages.
    kind: &'static str,
    n_tokens: usize,
}

impl Grammars {
    /// Grammars over the vocabulary of `tokenizer`, of which a model has logits for `n_tokens`.
    ///
    /// # Errors
    /// `Format` for a vocabulary that the library refuses.
    pub fn new(tokenizer: &Tokenizer, n_tokens: usize) -> Result<Self> {
        let words: Vec<Vec<u8>> = (0..n_tokens as u32).map(|id| word(tokenizer, id)).collect();
        let ends = tokenizer.end_tokens();
        let info = TokRxInfo::new(n_tokens as u32, ends.first().copied().unwrap_or(INVALID_TOKEN));
        let factory = catch_unwind(AssertUnwindSafe(|| {
            let trie = TokTrie::from(&info, &words);
            let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(ends) };
            // How the tokenizer itself would cut a text is not asked: any tokens will do that spell what is wanted.
            let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            let mut factory = ParserFactory::new_simple(&env)?;
            factory.quiet().limits_mut().verbose_errors = false;
            Ok(factory)
        }));
        match factory {
            Ok(factory) => Ok(Self { factory, n_tokens }),
            Err(error) => Err(Error::format("vocabulary", format!("no grammar can be over it: {}", words_of(&error)))),
        }
    }

    /// The beginning of an answer.
    ///
    /// # Errors
    /// `Invalid` for a grammar that the library refuses, with its reason.
    pub fn constraint(&self, grammar: &Grammar) -> Result<Constraint> {
        let (kind, n_tokens) = (kind(grammar), self.n_tokens);
        let init = GrammarInit::Serialized(library_grammar(grammar));
        match self.factory.create_parser_from_init_default(init) {
            Ok(parser) => Ok(Constraint { matcher: Matcher::new(Ok(parser)), kind, n_tokens }),
            Err(error) => Err(Error::invalid(format!("the {kind} cannot be followed: {}", words_of(&error)))),
        }
    }
}

impl Constraint {
    /// The tokens that may come next, a bit each: token i is bit i % 32 of word i / 32.
    ///
    /// # Errors
    /// `Invalid` where no token of the vocabulary goes on, or the grammar takes too long.
    pub fn mask(&mut self) -> Result<Vec<u32>> {
        let mask = self.matcher.compute_mask().map_err(|error| self.refusal(&error))?;
        let mut words = mask.as_slice().to_vec();
        words.resize(self.n_tokens.div_ceil(32), 0);
        Ok(words)
    }

    /// Goes on with a token that `mask` allowed and that ends no answer.
    ///
    /// # Errors
    /// `Invalid` for a token that was not allowed.
    pub fn take(&mut self, id: u32) -> Result<()> {
        self.matcher.consume_token(id).map_err(|error| self.refusal(&error))
    }

    /// Whether the answer is what it must be and nothing can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    fn refusal(&self, error: &impl Display) -> Error {
        Error::invalid(format!("no token goes on with the {}: {}", self.kind, words_of(error)))
    }
}

/// What a grammar is called in messages.
fn kind(grammar: &Grammar) -> &'static str {
    match grammar {
        Grammar::JsonSchema(_) => "JSON schema",
        Grammar::Regex(_) => "regular expression",
        Grammar::Lark(_) => "grammar",
    }
}

/// The bytes of a token; special ones by their names behind a byte that stands in no text.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    match tokenizer.piece(id) {
        [] => tokenizer.token(id).map_or_else(Vec::new, |name| [&[SPECIAL], name.as_bytes()].concat()),
        bytes => bytes.to_vec(),
    }
}

fn library_grammar(grammar: &Grammar) -> TopLevelGrammar {
    match grammar {
        Grammar::JsonSchema(schema) => TopLevelGrammar::from_json_schema(on_one_line(schema)),
        Grammar::Regex(pattern) => TopLevelGrammar::from_regex(pattern),
        Grammar::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
    }
}

/// Space that a model may add without end would keep a value from ever ending, so JSON has one form, that of Python's
/// `json.dumps`. A schema that says otherwise itself (`x-guidance`) is left to it.
fn on_one_line(schema: &Value) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    };
    if schema.is_object() && schema.get("x-guidance").is_none() {
        let options = JsonCompileOptions {
            item_separator: ", ".to_owned(),
            key_separator: ": ".to_owned(),
            whitespace_flexible: false,
            ..JsonCompileOptions::default()
        };
        options.apply_to(&mut schema);
    }
    schema
}

/// What the library says, on one line and without its own state.
fn words_of(error: &impl Display) -> String {
    let text = format!("{error:#}");
    let words = text.split("\n<").next().unwrap_or_default();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
