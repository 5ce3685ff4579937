//! A chat session over a decoder: prompt in, pieces of text out. Prefill, the decode loop, stop strings, cancelling and
//! prefix reuse live here; nothing above this file knows tensors.

mod answer;
mod request;

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::{Gpu, ReadBack};
use crate::kernels::sample::BAD_TOKEN;
use crate::model::config::DecoderConfig;
use crate::model::decoder::Decoder;
use crate::model::layers::WeightCount;
use crate::text::{ChatOptions, ChatTemplate, Message, Tokenizer};
use answer::{Answer, step_logprobs};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use web_time::{Instant, SystemTime};

pub use crate::kernels::attention::KvType;
pub use request::{
    Cancel, FinishReason, GenerateOptions, Generation, LoadOptions, ModelInfo, Perplexity, Piece, Progress, Stage,
    StepLogprobs, Timings, TokenLogprob,
};

/// Context reserved when nobody asks for more: enough for a conversation, small enough for any GPU.
const DEFAULT_CONTEXT: u32 = 4096;

/// Decode batches in flight: while the host waits for one, the device works on the next.
const FLIGHTS: usize = 2;

/// Steps per read-back at most: what is computed after an end token is thrown away.
const MAX_STEPS_PER_READ: usize = 16;

/// Prefill chunks between waits for the device, so that cancelling is heard and queues stay short.
const CHUNKS_PER_WAIT: usize = 4;

/// A decoder with its tokenizer, template and KV cache.
pub struct Session {
    gpu: Rc<Gpu>,
    decoder: Decoder,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    info: ModelInfo,
    /// What the cache holds, by position.
    cached: Vec<u32>,
    read_backs: [ReadBack; FLIGHTS],
    /// Seconds from submitting to reading, on an idle device.
    read_latency: f64,
}

/// Counts the bytes of a load and hears its cancel flag.
pub(crate) fn reading<'a>(
    checkpoint: &Checkpoint,
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(Progress),
) -> impl FnMut(u64) -> Result<()> + 'a {
    let (total, mut done) = (checkpoint.weight_bytes(), 0);
    move |n_bytes| {
        done += n_bytes;
        progress(Progress { stage: Stage::Reading, done: done.min(total), total });
        cancel.check()
    }
}

/// Tells of every shader compiled.
pub(crate) fn compiling<'a>(progress: &'a mut dyn FnMut(Progress)) -> impl FnMut(usize, usize) + 'a {
    move |done, total| progress(Progress { stage: Stage::Compiling, done: done as u64, total: total as u64 })
}

/// A vocabulary may be smaller than the embedding (which is often padded), never larger.
pub(crate) fn check_vocabulary(checkpoint: &Checkpoint, tokenizer: &Tokenizer, vocab_size: u32) -> Result<()> {
    if tokenizer.vocab_size() > vocab_size as usize {
        let reason = format!("the tokenizer has {} tokens, the embedding {vocab_size} rows", tokenizer.vocab_size());
        return Err(Error::format(checkpoint.name(), reason));
    }
    Ok(())
}

impl Session {
    /// Loads a decoder onto the GPU, streaming.
    ///
    /// # Errors
    /// `Format` and `Unsupported` for what the files hold, `Limit` for a context that fits neither model nor device.
    pub async fn load(
        gpu: &Rc<Gpu>,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let start = Instant::now();
        gpu.begin("loading a model")?;
        let model = DecoderConfig::new(checkpoint)?.shape;
        let tokenizer = Tokenizer::from_checkpoint(checkpoint).await?;
        let template = ChatTemplate::from_checkpoint(checkpoint).await?;
        check_vocabulary(checkpoint, &tokenizer, model.vocab_size)?;
        let context_len = context_len(options, model.context_len)?;
        let mut decoder = {
            let mut on_bytes = reading(checkpoint, &options.cancel, progress);
            Decoder::load(gpu, checkpoint, context_len, options.kv_type, &mut on_bytes).await?
        };
        decoder.compile(gpu, &mut compiling(progress)).await?;
        options.cancel.check()?;
        let read_backs = [(); FLIGHTS].map(|()| gpu.read_back((MAX_STEPS_PER_READ * 4) as u64));
        let read_latency = read_latency(gpu, &decoder).await?;
        let info = ModelInfo::new(checkpoint, &model, context_len as usize, start.elapsed());
        Ok(Self { gpu: gpu.clone(), decoder, tokenizer, template, info, cached: Vec::new(), read_backs, read_latency })
    }

    /// The device it is loaded on.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// What is loaded.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The model itself, for measuring it: what runs it directly must `forget` first.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What every token is multiplied with: all layers.
    pub fn layer_weights(&self) -> WeightCount {
        self.decoder.layer_weights()
    }

    /// What the last token of a prompt, and every generated one, is multiplied with besides: the head.
    pub fn head_weight(&self) -> WeightCount {
        self.decoder.head_weight()
    }

    /// Forgets what the cache holds: the next prompt is read whole.
    pub fn forget(&mut self) {
        self.cached.clear();
    }

    /// The decode step as text, a line per dispatch.
    pub fn describe(&self) -> Result<String> {
        self.decoder.describe(&self.gpu)
    }

    /// The prompt of a conversation through the model's template; `Error::Unsupported` when the model has none.
    pub fn chat_prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let Some(template) = &self.template else {
            return Err(Error::unsupported(format!("chatting with {}: it has no chat template", self.info.name)));
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        let options = ChatOptions { now, ..ChatOptions::default() };
        self.tokenizer.encode_prompt(&template.render(messages, &self.tokenizer, &options)?)
    }

    /// The prompt that continues `text` as it stands, with the model's begin token.
    pub fn raw_prompt(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode_document(text)
    }

    /// Generates after `prompt`, handing pieces out as they come; `ControlFlow::Break` from the callback cancels.
    ///
    /// # Errors
    /// `Invalid` for an empty prompt or parameters out of range, `Limit` for a prompt that fills the context.
    pub async fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        options.sampling.validate()?;
        self.check_prompt(prompt)?;
        let start = Instant::now();
        let reused = self.reusable(prompt);
        // Until this run has ended well, nobody may rely on more than what it shares with the last one.
        self.cached.truncate(reused);
        let room = self.info.context_len - prompt.len();
        let max_tokens = options.max_tokens.unwrap_or(room).min(room);
        let mut answer = Answer::new(&self.tokenizer, options, max_tokens, on_piece);
        self.decoder.set_sampling(&self.gpu, &options.sampling);
        let (mut first_token, mut traffic) = (start.elapsed(), self.gpu.traffic());
        let is_empty = answer.finish.is_some();
        if !is_empty {
            self.prefill(prompt, reused, &options.cancel, &mut answer).await?;
        }
        if answer.finish.is_none() {
            match options.logprobs {
                None => {
                    let ids = self.first_token(prompt.len()).await?;
                    first_token = start.elapsed();
                    traffic = self.gpu.traffic();
                    answer.push(ids, None)?;
                    self.decode(prompt.len(), &mut answer).await?;
                }
                Some(top) => first_token = self.decode_with_logprobs(prompt.len(), top, start, &mut answer).await?,
            }
        }
        let (tokens, text, finish_reason, logprobs) = answer.finish();
        let decoding = (start.elapsed() - first_token).as_secs_f64();
        let (now, n_decoded) = (self.gpu.traffic(), tokens.len().saturating_sub(1));
        let per_token = |before: u64, after: u64| (after - before) as f64 / n_decoded.max(1) as f64;
        let timings = Timings {
            load_ms: self.info.load_ms,
            prefill_ms: first_token.as_secs_f64() * 1e3,
            prefill_tokens_per_s: (prompt.len() - reused) as f64 / first_token.as_secs_f64().max(1e-9),
            decode_tokens_per_s: n_decoded as f64 / decoding.max(1e-9),
            dispatches_per_token: self.decoder.dispatches_per_token(prompt.len() + tokens.len()),
            submits_per_token: per_token(traffic.submits, now.submits),
            read_backs_per_token: per_token(traffic.read_backs, now.read_backs),
        };
        if finish_reason != FinishReason::Cancelled && !is_empty {
            // The last token was chosen but never run.
            self.cached = prompt.to_vec();
            self.cached.extend(&tokens[..tokens.len().saturating_sub(1)]);
        }
        let prompt_tokens = prompt.to_vec();
        Ok(Generation { model: self.info.name.clone(), prompt_tokens, tokens, text, finish_reason, timings, logprobs })
    }

    /// -ln p summed over the tokens of `ids` after the first; `ids` begins with the begin token and fits the context.
    pub async fn nll(&mut self, ids: &[u32]) -> Result<f64> {
        self.check_ids(ids)?;
        if ids.len() > self.info.context_len {
            return Err(self.too_long(ids.len()));
        }
        self.cached.clear();
        let scores = self.decoder.score(&self.gpu, ids).await?;
        let sum: f64 = scores.iter().map(|score| f64::from(*score)).sum();
        if sum.is_finite() { Ok(sum) } else { Err(not_numbers("scoring a text")) }
    }

    /// Logits `(vocab_size)` of the token after `prompt`.
    pub async fn next_logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.check_prompt(prompt)?;
        self.cached.clear();
        for (i, chunk) in prompt.chunks(self.decoder.chunk_len()).enumerate() {
            self.decoder.prefill(&self.gpu, i * self.decoder.chunk_len(), chunk)?;
        }
        self.decoder.prefill_head(&self.gpu)?;
        let logits = self.decoder.logits(&self.gpu).await?;
        if logits.iter().any(|logit| !logit.is_finite()) { Err(not_numbers("computing logits")) } else { Ok(logits) }
    }

    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| **id as usize >= self.info.vocab_size) {
            Some(id) => Err(Error::invalid(format!("token id {id}: the vocabulary has {}", self.info.vocab_size))),
            None => Ok(()),
        }
    }

    fn check_prompt(&self, prompt: &[u32]) -> Result<()> {
        if prompt.is_empty() {
            return Err(Error::invalid("the prompt is empty"));
        }
        if prompt.len() >= self.info.context_len {
            return Err(self.too_long(prompt.len() + 1));
        }
        self.check_ids(prompt)
    }

    fn too_long(&self, needed: usize) -> Error {
        let what = "tokens of context for the prompt and an answer".into();
        Error::Limit { what, needed: needed as u64, available: self.info.context_len as u64 }
    }

    /// How many tokens of `prompt` the cache holds already; the last one is run again for its logits.
    fn reusable(&self, prompt: &[u32]) -> usize {
        let same = self.cached.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        same.min(prompt.len() - 1)
    }

    async fn prefill(&self, prompt: &[u32], reused: usize, cancel: &Cancel, answer: &mut Answer<'_>) -> Result<()> {
        let chunk_len = self.decoder.chunk_len();
        for (i, chunk) in prompt[reused..].chunks(chunk_len).enumerate() {
            if cancel.is_cancelled() {
                answer.finish = Some(FinishReason::Cancelled);
                return Ok(());
            }
            self.decoder.prefill(&self.gpu, reused + i * chunk_len, chunk)?;
            if i % CHUNKS_PER_WAIT == CHUNKS_PER_WAIT - 1 {
                self.gpu.flush("reading the prompt").await?;
            }
        }
        self.decoder.prefill_head(&self.gpu)
    }

    /// Chooses the token after a prefilled prompt.
    async fn first_token(&self, position: usize) -> Result<u32> {
        self.decoder.sample(&self.gpu, Some((position, 1, &self.read_backs[0])))?;
        let bytes = self.gpu.fetch(&self.read_backs[0], 4).await?;
        checked_token(bytemuck::pod_read_unaligned(&bytes))
    }

    /// The decode loop after the first token, which stands at `position`: batches of steps in flight, so that the device
    /// never waits for the host. Steps past the end of the answer are dropped.
    async fn decode(&self, position: usize, answer: &mut Answer<'_>) -> Result<()> {
        let last = position + answer.max_tokens;
        let mut flights: VecDeque<(usize, usize)> = VecDeque::new();
        let (mut submitted, mut n_flights, mut steps) = (position + 1, 0, 1);
        let mut mark = Instant::now();
        loop {
            while answer.finish.is_none() && flights.len() < FLIGHTS && submitted < last {
                let n = steps.min(last - submitted);
                let slot = n_flights % FLIGHTS;
                self.decoder.decode(&self.gpu, submitted..submitted + n, &self.read_backs[slot])?;
                flights.push_back((slot, n));
                submitted += n;
                n_flights += 1;
            }
            let Some((slot, n)) = flights.pop_front() else { return Ok(()) };
            let bytes = self.gpu.fetch(&self.read_backs[slot], n as u64 * 4).await?;
            for id in bytemuck::pod_collect_to_vec::<u8, u32>(&bytes) {
                answer.push(id, None)?;
            }
            let seconds_per_step = mark.elapsed().as_secs_f64() / n as f64;
            steps = ((self.read_latency / seconds_per_step).ceil() as usize).clamp(1, MAX_STEPS_PER_READ);
            mark = Instant::now();
        }
    }

    /// The decode loop with every step's logits read back: slower, exact. Returns the time of the first token.
    async fn decode_with_logprobs(
        &self,
        mut position: usize,
        top: usize,
        start: Instant,
        answer: &mut Answer<'_>,
    ) -> Result<std::time::Duration> {
        let mut first_token = None;
        while answer.finish.is_none() {
            if first_token.is_some() {
                self.decoder.decode_to_logits(&self.gpu, position)?;
            }
            // Read before sampling: the penalty changes them.
            let logits = self.decoder.logits(&self.gpu).await?;
            let id = self.first_token(position).await?;
            first_token.get_or_insert_with(|| start.elapsed());
            answer.push(id, Some(step_logprobs(&logits, id, top)))?;
            position += 1;
        }
        Ok(first_token.unwrap_or_else(|| start.elapsed()))
    }
}

fn context_len(options: &LoadOptions, model: u32) -> Result<u32> {
    match options.context_len {
        None => Ok(model.min(DEFAULT_CONTEXT)),
        Some(0 | 1) => Err(Error::invalid("a context holds 2 tokens at least")),
        Some(wanted) if wanted <= model as usize => Ok(wanted as u32),
        Some(wanted) => {
            let what = "tokens of context, by what the model was made for".into();
            Err(Error::Limit { what, needed: wanted as u64, available: u64::from(model) })
        }
    }
}

/// Seconds that an idle device takes from a submit to the host's seeing it; the best of three.
async fn read_latency(gpu: &Gpu, decoder: &Decoder) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        gpu.read(decoder.history(), 0, 4).await?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn not_numbers(during: &'static str) -> Error {
    Error::Gpu { during, reason: "the model's outputs are not numbers: broken weights, or a driver's fault".into() }
}

/// The sampler's choice, or what it says where there was none.
fn checked_token(id: u32) -> Result<u32> {
    if id == BAD_TOKEN { Err(not_numbers("generating")) } else { Ok(id) }
}
