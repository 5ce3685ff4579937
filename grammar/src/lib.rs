//! Which tokens of a vocabulary an answer may go on with, so that it becomes what a grammar says. `llguidance` does the work: a
//! trie over the vocabulary's bytes once per model, a parser per answer. A crate of its own because a browser loads it as a second
//! module, and only once an answer has a grammar.

#[cfg(target_arch = "wasm32")]
pub mod web;

use llguidance::api::{GrammarInit, TopLevelGrammar};
use llguidance::panic_utils::catch_unwind;
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};
use llguidance::{JsonCompileOptions, ParserFactory};
use serde_json::Value;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Why something cannot be, in the library's words, on one line.
pub type Reason = String;

/// Grammars over the tokens of one model.
pub struct Grammars {
    factory: ParserFactory,
    n_tokens: usize,
}

/// A grammar and the tokens taken so far.
pub struct Matcher {
    matcher: llguidance::Matcher,
    n_tokens: usize,
}

impl Grammars {
    /// Grammars over tokens that spell `words`, of which `ends` end an answer. A word that begins with the byte 255, which no text
    /// holds, is the name of a token that spells nothing.
    ///
    /// # Errors
    /// The library's reason against the vocabulary.
    pub fn new(words: &[Vec<u8>], ends: &[u32]) -> Result<Self, Reason> {
        let n_tokens = words.len();
        let info = TokRxInfo::new(n_tokens as u32, ends.first().copied().unwrap_or(INVALID_TOKEN));
        let factory = catch_unwind(AssertUnwindSafe(|| {
            let trie = TokTrie::from(&info, words);
            let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(ends) };
            // How the tokenizer itself would cut a text is not asked: any tokens will do that spell what is wanted.
            let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            let mut factory = ParserFactory::new_simple(&env)?;
            factory.quiet().limits_mut().verbose_errors = false;
            Ok(factory)
        }));
        Ok(Self { factory: factory.map_err(|error| reason(&error))?, n_tokens })
    }

    /// The beginning of JSON that `schema` holds for, on one line.
    ///
    /// # Errors
    /// The library's reason against the schema.
    pub fn json_schema(&self, schema: Value) -> Result<Matcher, Reason> {
        let n_bytes = schema.to_string().len();
        self.begin(TopLevelGrammar::from_json_schema(on_one_line(schema)), n_bytes)
    }

    /// The beginning of a text that a regular expression matches from end to end.
    ///
    /// # Errors
    /// The library's reason against the expression.
    pub fn regex(&self, pattern: &str) -> Result<Matcher, Reason> {
        self.begin(TopLevelGrammar::from_regex(pattern), pattern.len())
    }

    /// The beginning of a text of a grammar in Lark's syntax.
    ///
    /// # Errors
    /// The library's reason against the grammar.
    pub fn lark(&self, text: &str) -> Result<Matcher, Reason> {
        self.begin(TopLevelGrammar::from_lark(text.to_owned()), text.len())
    }

    fn begin(&self, grammar: TopLevelGrammar, n_bytes: usize) -> Result<Matcher, Reason> {
        let parse = || self.factory.create_parser_from_init_default(GrammarInit::Serialized(grammar));
        let parser = with_stack_for(n_bytes, parse)?.map_err(|error| reason(&error))?;
        Ok(Matcher { matcher: llguidance::Matcher::new(Ok(parser)), n_tokens: self.n_tokens })
    }
}

impl Matcher {
    /// The tokens that may come next, a bit each: token i is bit i % 32 of word i / 32.
    ///
    /// # Errors
    /// Where no token of the vocabulary goes on, or the grammar takes too long.
    pub fn mask(&mut self) -> Result<Vec<u32>, Reason> {
        let mask = self.matcher.compute_mask().map_err(|error| reason(&error))?;
        let mut words = mask.as_slice().to_vec();
        words.resize(self.n_tokens.div_ceil(32), 0);
        Ok(words)
    }

    /// Goes on with a token that `mask` allowed and that ends no answer.
    ///
    /// # Errors
    /// For a token that was not allowed.
    pub fn take(&mut self, id: u32) -> Result<(), Reason> {
        self.matcher.consume_token(id).map_err(|error| reason(&error))
    }

    /// Whether the text is what it must be and nothing can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}

/// Runs `work` on a stack for a grammar of `n_bytes`: the library follows references by recursion, and a text may be nothing but a chain
/// of them. Pages that are not used are not taken.
#[cfg(not(target_arch = "wasm32"))]
fn with_stack_for<T: Send>(n_bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, Reason> {
    // A level takes up to 27 KB in a debug build, and 30 bytes of text at least.
    let stack = (2 << 20) + n_bytes.saturating_mul(1 << 10);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| format!("no stack for {n_bytes} bytes of it: {error}"))?;
        thread.join().map_err(|_| "the library panicked".to_owned())
    })
}

/// Runs `work`: here an overflow ends this module alone.
#[cfg(target_arch = "wasm32")]
fn with_stack_for<T>(_: usize, work: impl FnOnce() -> T) -> Result<T, Reason> {
    Ok(work())
}

/// Space that a model may add without end would keep a value from ever ending, so JSON has one form, that of Python's
/// `json.dumps`. A schema that says otherwise itself (`x-guidance`) is left to it.
fn on_one_line(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => Value::Object(serde_json::Map::new()),
        other => other,
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

/// Characters of a reason: the library quotes what it refuses, which may be long.
const MAX_REASON: usize = 400;

/// What the library says, on one line and without its own state.
fn reason(error: &impl Display) -> Reason {
    let text = format!("{error:#}");
    let words = text.split("\n<").next().unwrap_or_default();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
