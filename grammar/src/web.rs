//! The same for JavaScript: what the engine calls through it.

use crate::{Grammars, Matcher, Reason};
use serde_json::Value;
use wasm_bindgen::prelude::*;

/// Grammars over the tokens of one model.
#[wasm_bindgen]
pub struct Library(Grammars);

/// A grammar and the tokens taken so far.
#[wasm_bindgen]
pub struct Constraint(Matcher);

/// Grammars over tokens of which the one of id i spells the next `lengths[i]` of `bytes`.
#[wasm_bindgen]
pub fn library(bytes: &[u8], lengths: &[u32], ends: &[u32]) -> Result<Library, Reason> {
    let mut rest = bytes;
    let mut next = |n: &u32| {
        let (word, after) = rest.split_at_checked(*n as usize)?;
        rest = after;
        Some(word.to_vec())
    };
    let words: Option<Vec<Vec<u8>>> = lengths.iter().map(&mut next).collect();
    let words = words.ok_or_else(|| format!("{} bytes are fewer than the tokens' lengths say", bytes.len()))?;
    let library = Grammars::new(&words, ends).map(Library);
    // A panic would trap without a word. Set behind the library's own hook, which keeps silent.
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("no reason given");
        wasm_bindgen::throw_str(&format!("panic: {words}"))
    }));
    library
}

#[wasm_bindgen]
impl Library {
    /// The beginning of JSON that a schema, given as a text, holds for.
    #[wasm_bindgen(js_name = jsonSchema)]
    pub fn json_schema(&self, schema: &str) -> Result<Constraint, Reason> {
        let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
        self.0.json_schema(schema).map(Constraint)
    }

    /// The beginning of a text that a regular expression matches.
    pub fn regex(&self, pattern: &str) -> Result<Constraint, Reason> {
        self.0.regex(pattern).map(Constraint)
    }

    /// The beginning of a text of a grammar in Lark's syntax.
    pub fn lark(&self, text: &str) -> Result<Constraint, Reason> {
        self.0.lark(text).map(Constraint)
    }
}

#[wasm_bindgen]
impl Constraint {
    /// The tokens that may come next, a bit each.
    pub fn mask(&mut self) -> Result<Vec<u32>, Reason> {
        self.0.mask()
    }

    /// Goes on with a token that `mask` allowed.
    pub fn take(&mut self, id: u32) -> Result<(), Reason> {
        self.0.take(id)
    }

    /// Whether the text is what it must be and nothing can follow.
    #[wasm_bindgen(js_name = isComplete)]
    pub fn is_complete(&self) -> bool {
        self.0.is_complete()
    }
}
