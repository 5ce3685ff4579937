//! How fast several answers are written at once.

use crate::error::{Error, Result};
use crate::session::{Batch, GenerateOptions, Session};
use std::cell::Cell;
use std::ops::ControlFlow;
use web_time::Instant;

/// How several answers came, per token of all together.
#[derive(Clone, Copy)]
pub(super) struct Decoded {
    pub(super) tokens_per_s: f64,
    pub(super) submits_per_token: f64,
    pub(super) read_backs_per_token: f64,
}

/// Writes `n_answers` answers together and measures `n_tokens` of each, while all of them are at work.
pub(super) async fn decode(session: &mut Session, n_answers: usize, n_tokens: usize) -> Result<Decoded> {
    session.forget();
    let prompts: Vec<_> = (1..=n_answers).map(|n| super::ids(n, session.info().vocab_size)).collect();
    let options = GenerateOptions { ignore_end: true, ..GenerateOptions::default() };
    let n_written = Cell::new(0);
    let mut batch = Batch::new(session);
    for prompt in &prompts {
        let on_piece = |piece: crate::session::Piece<'_>| {
            n_written.set(n_written.get() + piece.tokens.len());
            ControlFlow::Continue(())
        };
        batch.admit(prompt, &options, Box::new(on_piece))?;
    }
    // A prompt is read per step; then a step that sets the device to all columns.
    for _ in 0..=n_answers {
        batch.step().await?;
    }
    let (start, n_before, before) = (Instant::now(), n_written.get(), batch.session().gpu().traffic());
    while n_written.get() - n_before < n_answers * n_tokens {
        if !batch.step().await?.is_empty() {
            let what = "tokens of context for what is measured".into();
            let available = batch.session().info().context_len as u64;
            return Err(Error::Limit { what, needed: available + n_tokens as u64, available });
        }
    }
    let (n, seconds, after) =
        ((n_written.get() - n_before) as f64, start.elapsed().as_secs_f64(), batch.session().gpu().traffic());
    Ok(Decoded {
        tokens_per_s: n / seconds,
        submits_per_token: (after.submits - before.submits) as f64 / n,
        read_backs_per_token: (after.read_backs - before.read_backs) as f64 / n,
    })
}
