//! What is read of a text that is longer than the context. Knows lengths and ids, no model and no GPU.

use crate::error::{Error, Result};

/// One in so many positions of the context is for the beginning of a text that is cut: the begin token and, mostly, the system
/// prompt. As many are kept free for an answer where the middle of a prompt is left out.
const KEPT_SHARE: usize = 4;

/// What happens where a text is longer than the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// A prompt that fills the context is an error, and an answer ends where the context does.
    #[default]
    Error,
    /// The oldest tokens after the first quarter of the context go, in blocks of half the rest, and what is left is read again:
    /// exact, no cached key is moved. Which blocks are gone follows from the length of the whole text, so that the next turn of a
    /// conversation finds in the cache what this one left. An answer ends when the model ends it.
    Shift,
    /// A prompt keeps the first quarter of the context and as much of its end as leaves room for the answer: the tokens asked
    /// for, at most a quarter. The answer ends where the context does.
    TruncateMiddle,
}

impl Overflow {
    /// `error`, `shift` or `truncate-middle`.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "error" => Ok(Self::Error),
            "shift" => Ok(Self::Shift),
            "truncate-middle" => Ok(Self::TruncateMiddle),
            other => Err(Error::invalid(format!("overflow must be error, shift or truncate-middle, not {other:?}"))),
        }
    }

    /// Tokens that a text of `n` loses, so that an answer of up to `max_tokens` can begin in a context of `context_len`.
    fn n_dropped(self, n: usize, context_len: usize, max_tokens: Option<usize>) -> usize {
        match self {
            Self::Error => 0,
            Self::Shift => {
                let block = ((context_len - n_kept(context_len)) / 2).max(1);
                // At least one position is left for the next token.
                (n + 1).saturating_sub(context_len).div_ceil(block) * block
            }
            Self::TruncateMiddle => {
                let most = (context_len / KEPT_SHARE).max(1);
                let room = max_tokens.map_or(most, |wanted| wanted.clamp(1, most));
                n.saturating_sub(context_len - room)
            }
        }
    }

    /// What is left of `ids`, and how many tokens are gone.
    pub(super) fn fit(self, mut ids: Vec<u32>, context_len: usize, max_tokens: Option<usize>) -> (Vec<u32>, usize) {
        let n = self.n_dropped(ids.len(), context_len, max_tokens);
        if n > 0 {
            let first = n_kept(context_len);
            ids.drain(first..first + n);
        }
        (ids, n)
    }
}

/// Tokens at the beginning of a text that stay.
fn n_kept(context_len: usize) -> usize {
    (context_len / KEPT_SHARE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(overflow: Overflow, n: u32, context_len: usize, max_tokens: Option<usize>) -> (Vec<u32>, usize) {
        overflow.fit((0..n).collect(), context_len, max_tokens)
    }

    #[test]
    fn what_is_left_fits_whatever_the_lengths() {
        for context_len in 2..40 {
            for n in 1..200u32 {
                for max_tokens in [None, Some(0), Some(1), Some(7), Some(1000)] {
                    for overflow in [Overflow::Shift, Overflow::TruncateMiddle] {
                        let (left, n_dropped) = fit(overflow, n, context_len, max_tokens);
                        assert!(!left.is_empty() && left.len() < context_len, "{overflow:?} {n} in {context_len}");
                        assert_eq!(left.len() + n_dropped, n as usize);
                        assert_eq!(left[0], 0, "the begin token stays");
                        // Beyond a context of a few tokens, so does the last.
                        assert!(context_len < 4 || left.last() == Some(&(n - 1)), "{overflow:?} {n} in {context_len}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_middle_goes_and_the_answer_has_room() {
        assert_eq!(fit(Overflow::TruncateMiddle, 48, 64, None).1, 0);
        let (left, n_dropped) = fit(Overflow::TruncateMiddle, 100, 64, None);
        assert_eq!((left.len(), n_dropped), (48, 52));
        assert_eq!((left[15], left[16], left[47]), (15, 68, 99));
        assert_eq!(fit(Overflow::TruncateMiddle, 100, 64, Some(5)).0.len(), 59);
        assert_eq!(fit(Overflow::TruncateMiddle, 60, 64, Some(4)).1, 0);
    }

    /// Blocks of 24 behind the first 16: a growing text keeps its cut until the context is full again.
    #[test]
    fn blocks_go_as_the_text_grows() {
        for (n, wanted) in [(63, 0), (64, 24), (87, 24), (88, 48), (111, 48), (112, 72)] {
            let (left, n_dropped) = fit(Overflow::Shift, n, 64, None);
            assert_eq!(n_dropped, wanted, "{n} tokens");
            assert!(n_dropped == 0 || left[16] == 16 + wanted as u32);
        }
        // A text that was cut and grew to the context's end is cut as the whole text is.
        let (mut cut, _) = fit(Overflow::Shift, 80, 64, None);
        cut.extend(80..88);
        assert_eq!(Overflow::Shift.fit(cut, 64, None).0, fit(Overflow::Shift, 88, 64, None).0);
    }

    #[test]
    fn an_error_cuts_nothing() {
        assert_eq!(fit(Overflow::Error, 100, 64, None), ((0..100).collect(), 0));
        assert!(Overflow::from_name("wrap").unwrap_err().to_string().contains("truncate-middle"));
        assert_eq!(Overflow::from_name("shift").unwrap(), Overflow::Shift);
    }
}
