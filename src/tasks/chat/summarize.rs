//! Summaries. Of a text longer than the context, those of its pieces are summarized again, until one is left.

use super::{ANSWER_SHARE, Task, check_text};
use crate::error::{Error, Result};
use crate::session::{FinishReason, GenerateOptions, Session};
use serde::Serialize;

const INSTRUCTION: &str = "Summarize this text in a few sentences. Answer with the summary alone.";

/// A summary of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The summary.
    pub summary_text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Pieces that the text was read in.
    pub n_pieces: usize,
}

/// Summarizes `text`.
///
/// # Errors
/// `Invalid` for an empty text, `Limit` for a context that is too small to summarize anything, `Cancelled` by `options.cancel`.
pub async fn summarize(session: &mut Session, text: &str, options: &GenerateOptions) -> Result<Summary> {
    check_text(text)?;
    let mut task = Task { session, instruction: INSTRUCTION, options };
    let answer_len = task.answer_len(ANSWER_SHARE);
    let (mut text, mut n_pieces) = (text.to_owned(), 0);
    loop {
        let pieces = task.pieces(&text, answer_len)?;
        n_pieces = n_pieces.max(pieces.len());
        if let [_] = pieces.as_slice() {
            let answer = task.ask(&text, answer_len).await?;
            let summary_text = answer.text.trim().to_owned();
            return Ok(Summary { summary_text, finish_reason: answer.finish_reason, n_pieces });
        }
        let mut summaries = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let answer = task.ask(piece, answer_len).await?;
            summaries.push(answer.text.trim().to_owned());
        }
        let shorter = summaries.join("\n");
        // A tokenizer may make as many tokens of less text, so bytes say whether this ends.
        if shorter.len() >= text.len() {
            let what = "bytes of a summary, for it to be shorter than its text".to_owned();
            return Err(Error::Limit { what, needed: shorter.len() as u64, available: text.len() as u64 });
        }
        text = shorter;
    }
}
