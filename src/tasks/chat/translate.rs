//! Translations, piece by piece where a text is longer than the context.

use super::{Task, check_text};
use crate::error::{Error, Result};
use crate::session::{FinishReason, GenerateOptions, Session};
use serde::Serialize;

/// Parts of the context that a piece's translation gets, one in so many: it may be longer than the piece.
const TRANSLATION_SHARE: usize = 2;

/// A text in another language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Translation {
    /// The translation.
    pub translation_text: String,
    /// `Length` where any piece was cut.
    pub finish_reason: FinishReason,
    /// Pieces that the text was read in.
    pub n_pieces: usize,
}

/// Translates `text` to the language `to`, as people call it: `French`, `Portuguese (Brazil)`.
///
/// # Errors
/// `Invalid` for an empty text or language, `Limit` for a context that is too small to translate anything, `Cancelled`
/// by `options.cancel`.
pub async fn translate(session: &mut Session, text: &str, to: &str, options: &GenerateOptions) -> Result<Translation> {
    check_text(text)?;
    if to.trim().is_empty() {
        return Err(Error::invalid("the language to translate to is empty"));
    }
    let instruction = format!("Translate this text to {to}. Answer with the translation alone.");
    let mut task = Task { session, instruction: &instruction, options };
    let answer_len = task.answer_len(TRANSLATION_SHARE);
    let pieces = task.pieces(text, answer_len)?;
    let (mut translated, mut finish_reason) = (String::new(), FinishReason::Stop);
    for piece in &pieces {
        let answer = task.ask(piece.trim(), answer_len).await?;
        translated.push_str(answer.text.trim());
        // What stood between pieces stands between their translations.
        translated.push_str(&piece[piece.trim_end().len()..]);
        if answer.finish_reason == FinishReason::Length {
            finish_reason = FinishReason::Length;
        }
    }
    Ok(Translation { translation_text: translated.trim().to_owned(), finish_reason, n_pieces: pieces.len() })
}
