//! The parts of a chat's answer in OpenAI's shapes: a message, or what a stream adds to one.

use serde_json::{Value, json};
use std::hash::{BuildHasher as _, RandomState};
use trice::text::{Call, ReplyOptions, ReplyParser, ReplyPart};

/// Characters of a call's name for itself, as Mistral's templates want it.
const ID_CHARS: usize = 9;

/// A chat's answer as it comes.
pub(super) struct Reply {
    parser: ReplyParser,
    pub(super) n_calls: usize,
}

impl Reply {
    pub(super) fn new(options: ReplyOptions) -> Self {
        Self { parser: ReplyParser::new(options), n_calls: 0 }
    }

    /// What a piece of text adds to the message.
    pub(super) fn push(&mut self, text: &str) -> Vec<Value> {
        let parts = self.parser.push(text);
        parts.into_iter().map(|part| self.delta(part)).collect()
    }

    /// What the end of the text adds.
    pub(super) fn finish(&mut self) -> Vec<Value> {
        let parts = self.parser.finish();
        parts.into_iter().map(|part| self.delta(part)).collect()
    }

    fn delta(&mut self, part: ReplyPart) -> Value {
        match part {
            ReplyPart::Reasoning(text) => json!({"reasoning_content": text}),
            ReplyPart::Content(text) => json!({"content": text}),
            ReplyPart::Call(call) => {
                let mut entry = call_json(call);
                entry["index"] = json!(self.n_calls);
                self.n_calls += 1;
                json!({"tool_calls": [entry]})
            }
        }
    }

    /// The message of a whole answer. Who calls and says nothing has no content.
    pub(super) fn message(&mut self, text: &str) -> Value {
        let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
        let parts = self.parser.push(text);
        for part in parts.into_iter().chain(self.parser.finish()) {
            match part {
                ReplyPart::Reasoning(text) => reasoning.push_str(&text),
                ReplyPart::Content(text) => content.push_str(&text),
                ReplyPart::Call(call) => calls.push(call_json(call)),
            }
        }
        self.n_calls = calls.len();
        let is_silent = content.is_empty() && !calls.is_empty();
        let mut message = json!({"role": "assistant", "content": if is_silent { Value::Null } else { json!(content) }});
        if !reasoning.is_empty() {
            message["reasoning_content"] = json!(reasoning);
        }
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        message
    }
}

fn call_json(call: Call) -> Value {
    json!({"id": call_id(), "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

/// Letters and digits at random: the standard library's hasher is seeded by the system, and anew each time.
fn call_id() -> String {
    let mut bits = RandomState::new().hash_one("call");
    let mut digit = || {
        let digit = char::from_digit((bits % 36) as u32, 36).unwrap_or_default();
        bits /= 36;
        digit
    };
    (0..ID_CHARS).map(|_| digit()).collect()
}
