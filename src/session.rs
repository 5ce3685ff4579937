//! A chat session over a decoder: prompt in, pieces of text out. Prefill, the decode loop, stop strings, cancelling and
//! prefix reuse live here; nothing above this file knows tensors.

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::Gpu;
use crate::text::{Message, SamplingParams, Tokenizer};
use serde::Serialize;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

pub use crate::kernels::attention::KvType;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Tokens of context to reserve; none means min(the model's, 4096).
    pub context_len: Option<usize>,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Stops the loading.
    pub cancel: Cancel,
}

/// How an answer is generated.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// At most this many tokens; none means until the end token or the end of the context.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Texts that end the answer; not part of it.
    pub stop: Vec<String>,
    /// Also report this many most probable tokens per step.
    pub logprobs: Option<usize>,
    /// Stops the generation; what was generated is returned with `FinishReason::Cancelled`.
    pub cancel: Cancel,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The end token or a stop string.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
    /// Someone cancelled.
    Cancelled,
}

/// The log-probability of one token.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokenLogprob {
    /// Token id.
    pub id: u32,
    /// Natural logarithm of its probability, before any sampling transform.
    pub logprob: f32,
}

/// The log-probabilities at one generated position.
#[derive(Clone, Debug, Serialize)]
pub struct StepLogprobs {
    /// The token that was chosen.
    pub id: u32,
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
    pub first_token_ms: f64,
    /// Prompt tokens per second.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens per second, after the first.
    pub decode_tokens_per_s: f64,
    /// GPU dispatches of one decode step.
    pub dispatches_per_token: u32,
}

/// A finished answer: `trice chat --json` prints this.
#[derive(Clone, Debug, Serialize)]
pub struct Generation {
    /// The model's name.
    pub model: String,
    /// The prompt as token ids.
    pub prompt_tokens: Vec<u32>,
    /// The generated ids, without an end token.
    pub tokens: Vec<u32>,
    /// The generated text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
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

/// A decoder with its tokenizer, template and KV cache.
pub struct Session {
    _private: Rc<Cell<()>>,
}

impl Session {
    /// Loads a decoder onto the GPU, streaming.
    pub async fn load(
        gpu: &Rc<Gpu>,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let _ = (gpu, checkpoint, options, progress);
        Err(Error::unsupported("decoders (under construction)"))
    }

    /// What is loaded.
    pub fn info(&self) -> &ModelInfo {
        unreachable!()
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        unreachable!()
    }

    /// The prompt of a conversation through the model's template; `Error::Unsupported` when the model has none.
    pub fn chat_prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let _ = messages;
        Err(Error::Cancelled)
    }

    /// The prompt that continues `text` as it stands, with the model's begin token.
    pub fn raw_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let _ = text;
        Err(Error::Cancelled)
    }

    /// Generates after `prompt`, handing pieces out as they come; `ControlFlow::Break` from the callback cancels.
    pub async fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let _ = (prompt, options, on_piece);
        Err(Error::Cancelled)
    }

    /// -ln p summed over the tokens of `ids` after the first; `ids` begins with the begin token and fits the context.
    pub async fn nll(&mut self, ids: &[u32]) -> Result<f64> {
        let _ = ids;
        Err(Error::Cancelled)
    }
}
