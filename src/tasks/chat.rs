//! Tasks that a chat model does by being told to: summaries, translations, relations. A text that does not fit the context is cut
//! into pieces where it pauses, each a question of its own.

mod pieces;
mod relations;
mod summarize;
mod translate;

pub use relations::{Relation, Relations, relations};
pub use summarize::{Summary, summarize};
pub use translate::{Translation, translate};

use crate::error::{Error, Result};
use crate::session::{FinishReason, GenerateOptions, Generation, Session};
use crate::text::{ChatOptions, Message};
use std::ops::ControlFlow;

/// Parts of the context that an answer gets where nobody says how long it may be: one in so many.
const ANSWER_SHARE: usize = 4;

/// A question about texts: what to do with them, and how answers are made.
struct Task<'a> {
    session: &'a mut Session,
    instruction: &'a str,
    options: &'a GenerateOptions,
}

impl Task<'_> {
    /// Tokens that an answer may have beside `share` parts of the context for itself and its text.
    fn answer_len(&self, share: usize) -> usize {
        let most = self.session.info().context_len / share;
        self.options.max_tokens.map_or(most, |wanted| wanted.min(most)).max(1)
    }

    /// What is asked about `text`: in a chat, or where there is no template, as a text that an answer continues.
    fn prompt(&self, text: &str) -> Result<Vec<u32>> {
        let question = format!("{}\n\n{text}", self.instruction);
        let message = Message { role: "user".to_owned(), content: question.clone() };
        match self.session.chat_prompt(&[message], &ChatOptions::default()) {
            Err(Error::Unsupported { .. }) => self.session.raw_prompt(&format!("{question}\n\n")),
            prompt => prompt,
        }
    }

    /// `text` in pieces that leave room for an answer of `answer_len` tokens each.
    fn pieces<'t>(&self, text: &'t str, answer_len: usize) -> Result<Vec<&'t str>> {
        let available = self.session.info().context_len.saturating_sub(answer_len);
        let needed = self.prompt("")?.len();
        // Tokens at both ends of a piece may come out otherwise beside the instruction.
        let room = available.saturating_sub(needed + 2);
        if room == 0 {
            let what = "tokens of context for the instruction and an answer".to_owned();
            return Err(Error::Limit {
                what,
                needed: (needed + 3 + answer_len) as u64,
                available: (available + answer_len) as u64,
            });
        }
        pieces::pieces(self.session.tokenizer(), text, room)
    }

    /// The answer about `text`, of at most `answer_len` tokens.
    async fn ask(&mut self, text: &str, answer_len: usize) -> Result<Generation> {
        let prompt = self.prompt(text)?;
        let options = GenerateOptions { max_tokens: Some(answer_len), ..self.options.clone() };
        let answer = self.session.generate(&prompt, &options, &mut |_| ControlFlow::Continue(())).await?;
        if answer.finish_reason == FinishReason::Cancelled { Err(Error::Cancelled) } else { Ok(answer) }
    }
}

/// Refuses a text that holds nothing to work on.
fn check_text(text: &str) -> Result<()> {
    if text.trim().is_empty() { Err(Error::invalid("the text is empty")) } else { Ok(()) }
}
