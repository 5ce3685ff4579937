//! Messages to prompt through the model's own Jinja template.

use serde::{Deserialize, Serialize};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A compiled chat template.
pub struct ChatTemplate {}

impl ChatTemplate {
    pub(crate) fn new(_name: &str, _source: &str) -> crate::Result<Self> {
        Ok(Self {})
    }
    pub(crate) fn render(&self, _messages: &[Message], _tokenizer: &super::Tokenizer) -> crate::Result<String> {
        Err(crate::Error::Cancelled)
    }
}
