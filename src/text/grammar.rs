//! What an answer must be (a JSON schema, a regular expression, a Lark grammar), and which tokens it may go on with at each step.
//! A `Library` knows that: the crate `trice-grammar` where the feature `grammar` is on; in a browser the WebAssembly module
//! made of it, which the surface hands in.

#[cfg(feature = "grammar")]
mod native;

use super::Tokenizer;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// What an answer must be. It ends when it is that, or where the limit of tokens cuts it.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// JSON that this schema holds for, on one line.
    JsonSchema(Value),
    /// A text that this regular expression matches from end to end.
    Regex(String),
    /// A text of this grammar in Lark's syntax; it begins with the rule `start`.
    Lark(String),
}

impl Grammar {
    /// Any JSON object.
    pub fn json_object() -> Self {
        Self::JsonSchema(json!({"type": "object"}))
    }

    /// A schema as a text; `name` is what to call it in messages.
    ///
    /// # Errors
    /// `Format` for what is no JSON. Whether the schema can be followed is known when an answer begins.
    pub fn json_schema(name: &str, text: &str) -> Result<Self> {
        let schema = serde_json::from_str(text);
        schema.map(Self::JsonSchema).map_err(|error| Error::format(name, format!("a JSON schema wanted: {error}")))
    }

    /// What it is called in messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::JsonSchema(_) => "JSON schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "grammar",
        }
    }
}

/// What a model's tokens spell.
pub struct Vocabulary {
    /// The bytes of each; special ones by their names behind the byte 255, which stands in no text.
    pub words: Vec<Vec<u8>>,
    /// Those that end an answer.
    pub ends: Vec<u32>,
}

/// What stands before the name of a token that spells nothing.
const SPECIAL: u8 = 0xFF;

impl Vocabulary {
    /// The vocabulary of `tokenizer`, of which a model has logits for `n_tokens`.
    pub fn new(tokenizer: &Tokenizer, n_tokens: usize) -> Self {
        let word = |id| match tokenizer.piece(id) {
            [] => tokenizer.token(id).map_or_else(Vec::new, |name| [&[SPECIAL], name.as_bytes()].concat()),
            bytes => bytes.to_vec(),
        };
        Self { words: (0..n_tokens as u32).map(word).collect(), ends: tokenizer.end_tokens().to_vec() }
    }
}

/// Follows grammars over one vocabulary; refuses with a reason.
pub trait Library {
    /// The beginning of a text.
    ///
    /// # Errors
    /// What is wrong with the grammar.
    fn begin(&self, grammar: &Grammar) -> Result<Box<dyn Matcher>, String>;
}

/// A grammar and the tokens taken so far, as a library has them.
pub trait Matcher {
    /// The tokens that may come next, a bit each.
    ///
    /// # Errors
    /// Why there are none.
    fn mask(&mut self) -> Result<Vec<u32>, String>;
    /// Goes on with a token.
    ///
    /// # Errors
    /// Why it cannot come.
    fn take(&mut self, id: u32) -> Result<(), String>;
    /// Whether the text is what it must be and nothing can follow.
    fn is_complete(&self) -> bool;
}

/// Grammars over the tokens of one model.
pub struct Grammars(Box<dyn Library>);

/// A grammar and the tokens taken so far.
pub struct Constraint {
    matcher: Box<dyn Matcher>,
    /// What it is called in messages.
    kind: &'static str,
}

impl Grammars {
    /// Grammars over the vocabulary of `tokenizer`, of which a model has logits for `n_tokens`.
    ///
    /// # Errors
    /// `Format` for a vocabulary that the library refuses, `Unsupported` in a build without one.
    pub fn new(tokenizer: &Tokenizer, n_tokens: usize) -> Result<Self> {
        Self::by_the_builds_own(&Vocabulary::new(tokenizer, n_tokens))
    }

    #[cfg(feature = "grammar")]
    fn by_the_builds_own(vocabulary: &Vocabulary) -> Result<Self> {
        Self::by(native::library(vocabulary))
    }

    #[cfg(not(feature = "grammar"))]
    fn by_the_builds_own(_: &Vocabulary) -> Result<Self> {
        Err(Error::unsupported("answers under a grammar: this build has no feature `grammar`"))
    }

    /// Grammars by a library, or what it says against the vocabulary.
    ///
    /// # Errors
    /// `Format` for a vocabulary that the library refuses.
    pub fn by<L: Library + 'static>(library: Result<L, String>) -> Result<Self> {
        let refusal = |reason| Error::format("vocabulary", format!("no grammar can be over it: {reason}"));
        library.map(|library| Self(Box::new(library))).map_err(refusal)
    }

    /// The beginning of an answer.
    ///
    /// # Errors
    /// `Invalid` for a grammar that the library refuses, with its reason.
    pub fn constraint(&self, grammar: &Grammar) -> Result<Constraint> {
        let kind = grammar.kind();
        let refusal = |reason| Error::invalid(format!("the {kind} cannot be followed: {reason}"));
        Ok(Constraint { matcher: self.0.begin(grammar).map_err(refusal)?, kind })
    }
}

impl Constraint {
    /// The tokens that may come next, a bit each: token i is bit i % 32 of word i / 32.
    ///
    /// # Errors
    /// `Invalid` where no token of the vocabulary goes on, or the grammar takes too long.
    pub fn mask(&mut self) -> Result<Vec<u32>> {
        self.matcher.mask().map_err(|reason| self.refusal(&reason))
    }

    /// Goes on with a token that `mask` allowed and that ends no answer.
    ///
    /// # Errors
    /// `Invalid` for a token that was not allowed.
    pub fn take(&mut self, id: u32) -> Result<()> {
        self.matcher.take(id).map_err(|reason| self.refusal(&reason))
    }

    /// Whether the answer is what it must be and nothing can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_complete()
    }

    fn refusal(&self, reason: &str) -> Error {
        Error::invalid(format!("no token goes on with the {}: {reason}", self.kind))
    }
}
