//! What a session is asked and what it answers: options, progress, pieces, figures. Plain data, printed as JSON by every
//! surface; holds no work.

use super::overflow::Overflow;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::kernels::attention::KvType;
use crate::model::config::Shape;
use crate::text::{Grammar, SamplingParams};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A flag that stops work from another thread: Ctrl-C, a closed connection, the page's Stop button.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the work to stop at its next step.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Err(Error::Cancelled)` once someone asked.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What loading is doing, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Bytes of the model from its source to the GPU.
    Reading,
    /// Shader variants compiled.
    Compiling,
}

/// How far a stage is: bytes while reading, shaders while compiling.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How many of `total` are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Tokens of context to reserve; none means min(the model's, 4096).
    pub context_len: Option<usize>,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Answers that a `Batch` may write at once, each with a context of its own; none means one.
    pub parallel: Option<usize>,
    /// Whether answers are drafted ahead, where one is written at a time.
    pub speculate: Speculate,
    /// Stops the loading.
    pub cancel: Cancel,
}

/// Whether several tokens of an answer are guessed ahead and checked at once. It changes how fast answers come, not what
/// they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speculate {
    /// A token at a time.
    #[default]
    Off,
    /// Guesses are what followed when the last words stood in the text before; `Session::draft_with` lets a smaller model
    /// guess instead.
    Lookup,
}

/// A prompt that an answer follows.
#[derive(Clone, Debug)]
pub struct AnswerPrompt {
    /// Its token ids.
    pub ids: Vec<u32>,
    /// The answer begins inside a thought: what `ReplyParser` must know.
    pub is_reasoning: bool,
}

impl From<Vec<u32>> for AnswerPrompt {
    fn from(ids: Vec<u32>) -> Self {
        Self { ids, is_reasoning: false }
    }
}

/// How an answer is generated.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// At most this many tokens; none means until the end token or, where the text is not shifted, the end of the context.
    pub max_tokens: Option<usize>,
    /// Tokens of the answer that are there already, from a run that was cut off: it goes on behind them as if it had never stopped.
    /// They count and stand in the result; pieces and log-probabilities are of what is new.
    pub answered: Vec<u32>,
    /// What happens where prompt and answer are longer than the context.
    pub overflow: Overflow,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Goes on after an end token, as benchmarks want.
    pub ignore_end: bool,
    /// Texts that end the answer; not part of it.
    pub stop: Vec<String>,
    /// What the answer must be. Every token is then chosen from those that lead there, one per read-back and without drafts; stop
    /// texts and `ignore_end`, which could leave it unfinished or run past it, are refused.
    pub grammar: Option<Grammar>,
    /// Also report this many most probable tokens per step.
    pub logprobs: Option<usize>,
    /// Spells the special tokens that structure an answer (`[TOOL_CALLS]`, `<think>`), as `ReplyParser` wants them; others have no
    /// text ever.
    pub spells_marks: bool,
    /// Writes a token at a time even where the model was loaded to speculate.
    pub without_drafts: bool,
    /// Stops the generation; what was generated is returned with `FinishReason::Cancelled`.
    pub cancel: Cancel,
}

impl GenerateOptions {
    /// Whether the host has something to do between any two tokens.
    pub(super) fn is_stepwise(&self) -> bool {
        self.logprobs.is_some() || self.grammar.is_some()
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The end token, a stop string, or the end of what a grammar allows.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
    /// Someone cancelled.
    Cancelled,
}

/// The log-probability of one token.
#[derive(Clone, Debug, Serialize)]
pub struct TokenLogprob {
    /// Token id.
    pub id: u32,
    /// What it stands for; half a character is half a character.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, before any sampling transform; under a grammar, among the tokens that it allows.
    pub logprob: f32,
}

/// The log-probabilities at one generated position.
#[derive(Clone, Debug, Serialize)]
pub struct StepLogprobs {
    /// The token that was chosen.
    pub id: u32,
    /// What it stands for.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Its log-probability.
    pub logprob: f32,
    /// The most probable tokens, best first.
    pub top: Vec<TokenLogprob>,
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Timings {
    /// Milliseconds from opening the model to being ready.
    pub load_ms: f64,
    /// Milliseconds from the prompt to the first token.
    pub prefill_ms: f64,
    /// Prompt tokens read; those that the cache held already are not among them.
    pub prefill_tokens: usize,
    /// Prompt tokens that the cache held already.
    pub cached_tokens: usize,
    /// Tokens read per second.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens per second, after the first.
    pub decode_tokens_per_s: f64,
    /// GPU dispatches of one decode step.
    pub dispatches_per_token: u32,
    /// Submits to the GPU per token after the first.
    pub submits_per_token: f64,
    /// Times the host waited for the GPU, per token after the first.
    pub read_backs_per_token: f64,
    /// Tokens guessed ahead and checked.
    pub drafted_tokens: usize,
    /// Those among them that were right.
    pub accepted_tokens: usize,
}

/// A finished answer: `trice chat --json` prints this.
#[derive(Clone, Debug, Serialize)]
pub struct Generation {
    /// The model's name.
    pub model: String,
    /// The prompt as token ids, as it was read: where the context was too small for it, without what was left out.
    pub prompt_tokens: Vec<u32>,
    /// The generated ids, without an end token.
    pub tokens: Vec<u32>,
    /// The generated text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens left out because the context was full, of the prompt and of what was shifted away while answering.
    pub dropped_tokens: usize,
    /// How long it took.
    pub timings: Timings,
    /// One entry per generated token, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<StepLogprobs>>,
}

/// A piece of an answer as it streams.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Whole UTF-8 characters; may be empty while a character or a possible stop string is incomplete.
    pub text: &'a str,
    /// The ids behind it.
    pub tokens: &'a [u32],
    /// Log-probabilities of those ids, when asked for.
    pub logprobs: &'a [StepLogprobs],
}

/// Summed negative log-likelihood of some documents.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Perplexity {
    /// Predicted tokens.
    pub tokens: u64,
    /// Sum over them of -ln p.
    pub sum_nll: f64,
    /// exp(sum_nll / tokens).
    pub perplexity: f64,
}

/// What a loaded model is: for `inspect`, the server and the page.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    /// What to call it.
    pub name: String,
    /// `llama`, `qwen2`, `bert`.
    pub architecture: String,
    /// Number of weights.
    pub n_params: u64,
    /// Bytes of weights on the GPU.
    pub weight_bytes: u64,
    /// Tokens of context reserved.
    pub context_len: usize,
    /// Vocabulary size.
    pub vocab_size: usize,
    /// Milliseconds the load took.
    pub load_ms: f64,
}

impl ModelInfo {
    /// What `checkpoint` holds, loaded in `took` with room for `context_len` tokens.
    pub(crate) fn new(checkpoint: &Checkpoint, shape: &Shape, context_len: usize, took: Duration) -> Self {
        Self {
            name: checkpoint.name().to_owned(),
            architecture: shape.architecture.clone(),
            n_params: checkpoint.n_params(),
            weight_bytes: checkpoint.weight_bytes(),
            context_len,
            vocab_size: shape.vocab_size as usize,
            load_ms: took.as_secs_f64() * 1e3,
        }
    }
}
