//! What an answer must be (a JSON schema, a regular expression, a Lark grammar), and which tokens it may go on with at each step.
//! `llguidance` does the work where the feature `grammar` is on; a grammar is refused where it is off.

#[cfg_attr(not(feature = "grammar"), path = "grammar/none.rs")]
mod matcher;

pub use matcher::{Constraint, Grammars};

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
}
