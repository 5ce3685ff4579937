//! What a model thinks of texts that are given: likelihoods, and the logits behind a prompt. Nothing is written here.

use super::{Session, not_numbers};
use crate::error::{Error, Result};

impl Session {
    /// -ln p summed over the tokens of `ids` after the first; `ids` begins with the begin token and fits the context.
    pub async fn nll(&mut self, ids: &[u32]) -> Result<f64> {
        self.forget();
        let sum: f64 = self.scores(ids, 0).await?.iter().map(|score| f64::from(*score)).sum();
        Ok(sum)
    }

    /// ln p of each token of `continuation` behind `prompt`. What the cache holds of the prompt is not read again, so that many
    /// continuations of one prompt cost little more than themselves.
    ///
    /// # Errors
    /// `Invalid` where either is empty, `Limit` where both do not fit the context.
    pub async fn log_likelihood(&mut self, prompt: &[u32], continuation: &[u32]) -> Result<Vec<f32>> {
        if prompt.is_empty() || continuation.is_empty() {
            let what = if prompt.is_empty() { "prompt" } else { "continuation" };
            return Err(Error::invalid(format!("a likelihood behind a prompt: the {what} is empty")));
        }
        // The prompt's last token predicts the first of the continuation.
        let n_known = self.keep_shared(0, prompt);
        let ids = [prompt, continuation].concat();
        let scores = self.scores(&ids, n_known).await?;
        Ok(scores[prompt.len() - 1 - n_known..].iter().map(|score| -score).collect())
    }

    /// −ln p of the ids behind position `first`; the first slot holds those before it, and afterwards all but the last.
    async fn scores(&mut self, ids: &[u32], first: usize) -> Result<Vec<f32>> {
        self.check_ids(ids)?;
        if ids.len() > self.info.context_len {
            return Err(self.too_long(ids.len()));
        }
        // What is no number may stand anywhere in the slot.
        self.cached.get_mut()[0].clear();
        let scores = self.decoder.score(&self.gpu, ids, first).await?;
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(not_numbers("scoring a text"));
        }
        self.cached.get_mut()[0] = ids[..ids.len().saturating_sub(1)].to_vec();
        Ok(scores)
    }

    /// Logits `(vocab_size)` of the token after `prompt`.
    pub async fn next_logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.check_prompt(prompt)?;
        self.forget();
        for (i, chunk) in prompt.chunks(self.decoder.chunk_len()).enumerate() {
            self.decoder.prefill(&self.gpu, i * self.decoder.chunk_len(), chunk)?;
        }
        self.decoder.prefill_head(&self.gpu)?;
        let logits = self.decoder.logits(&self.gpu).await?;
        if logits.iter().any(|logit| !logit.is_finite()) { Err(not_numbers("computing logits")) } else { Ok(logits) }
    }
}
