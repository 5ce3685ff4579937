//! Grammars by the crate `trice-grammar`.

use super::{Grammar, Library, Matcher, Vocabulary};
use trice_grammar::{Grammars, Reason};

/// Follows grammars over `vocabulary`.
pub(super) fn library(vocabulary: &Vocabulary) -> Result<Grammars, Reason> {
    Grammars::new(&vocabulary.words, &vocabulary.ends)
}

impl Library for Grammars {
    fn begin(&self, grammar: &Grammar) -> Result<Box<dyn Matcher>, Reason> {
        let matcher = match grammar {
            Grammar::JsonSchema(schema) => self.json_schema(schema.clone()),
            Grammar::Regex(pattern) => self.regex(pattern),
            Grammar::Lark(text) => self.lark(text),
        };
        Ok(Box::new(matcher?))
    }
}

impl Matcher for trice_grammar::Matcher {
    fn mask(&mut self) -> Result<Vec<u32>, Reason> {
        self.mask()
    }

    fn take(&mut self, id: u32) -> Result<(), Reason> {
        self.take(id)
    }

    fn is_complete(&self) -> bool {
        self.is_complete()
    }
}
