//! A chat session over a decoder: prompt in, pieces of text out. Prefill, the decode loop, speculation, stop strings,
//! cancelling, prefix reuse, shifting and forking live here; nothing above this file knows tensors.

mod answer;
mod batch;
mod decode;
mod flights;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod gpu_flights;
mod overflow;
mod request;
mod run;
mod score;
mod slots;
mod speculate;

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::{Gpu, ReadBack};
use crate::kernels::sample::BAD_TOKEN;
use crate::kernels::{MAX_SLOTS, Place};
use crate::model::config::DecoderConfig;
use crate::model::decoder::{Decoder, Room, Speculation};
use crate::text::grammar::{Constraint, Grammars, Vocabulary};
use crate::text::reply::{begun_answer, prompt_opens_reasoning};
use crate::text::{ChatOptions, ChatTemplate, Message, SamplingParams, Tokenizer, split_begun};
use answer::step_logprobs;
use decode::READ_BACK_BYTES;
use flights::FLIGHTS;
use run::Run;
use serde::Serialize;
use serde_json::Value;
use speculate::{Draft, Paces};
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use web_time::{Instant, SystemTime};

pub use crate::kernels::attention::KvType;
pub use answer::OnPiece;
pub use batch::{Batch, Ticket};
pub use overflow::Overflow;
pub use request::{
    AnswerPrompt, Cancel, FinishReason, GenerateOptions, Generation, LoadOptions, ModelInfo, Perplexity, Piece,
    Progress, Speculate, Stage, StepLogprobs, Timings, TokenLogprob,
};

/// Context reserved when nobody asks for more: enough for a conversation, small enough for any GPU.
const DEFAULT_CONTEXT: u32 = 4096;

/// Prefill chunks between waits for the device, so that cancelling is heard and queues stay short.
const CHUNKS_PER_WAIT: usize = 4;

/// A decoder with its tokenizer, template and KV cache.
pub struct Session {
    gpu: Rc<Gpu>,
    decoder: Decoder,
    /// Another model that drafts for it.
    draft: Option<Draft>,
    /// How long plain steps and rounds of speculation take.
    paces: Cell<Paces>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    /// Grammars over its vocabulary, from the first request that has one.
    grammars: OnceCell<Grammars>,
    info: ModelInfo,
    /// What each slot of the cache holds, by position. A `Batch` shares the session with its answers, hence the cell.
    cached: RefCell<Vec<Vec<u32>>>,
    /// Where the last request went.
    last_slot: Cell<usize>,
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

/// Tells of every shader compiled and hears the cancel flag of a load.
pub(crate) fn compiling<'a>(
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(Progress),
) -> impl FnMut(usize, usize) -> Result<()> + 'a {
    move |done, total| {
        progress(Progress { stage: Stage::Compiling, done: done as u64, total: total as u64 });
        cancel.check()
    }
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
        let n_slots = n_slots(options)?;
        let speculation = speculation(options, n_slots)?;
        let room = Room { context_len, n_slots, kv_type: options.kv_type, speculation };
        let loading = Decoder::load(gpu, checkpoint, room).await?;
        let loading = loading.read(&mut reading(checkpoint, &options.cancel, progress)).await?;
        let decoder = loading.finish(&mut compiling(&options.cancel, progress)).await?;
        let read_backs = [(); FLIGHTS].map(|()| gpu.read_back(READ_BACK_BYTES));
        let read_latency = read_latency(gpu, &decoder).await?;
        let info = ModelInfo::new(checkpoint, &model, context_len as usize, start.elapsed());
        let (gpu, cached) = (gpu.clone(), RefCell::new(vec![Vec::new(); n_slots]));
        Ok(Self {
            gpu,
            decoder,
            draft: None,
            paces: Cell::default(),
            tokenizer,
            template,
            grammars: OnceCell::new(),
            info,
            cached,
            last_slot: Cell::new(0),
            read_backs,
            read_latency,
        })
    }

    /// The device it is loaded on.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// Answers that a `Batch` may write at once.
    pub fn parallel(&self) -> usize {
        self.decoder.n_slots()
    }

    /// What is loaded.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Bytes that the KV cache takes on the device.
    pub fn cache_bytes(&self) -> u64 {
        self.decoder.cache_bytes()
    }

    /// The model itself, for measuring it: what runs it directly must `forget` first.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Forgets what the cache holds: the next prompt is read whole.
    pub fn forget(&mut self) {
        self.cached.get_mut().iter_mut().for_each(Vec::clear);
        self.truncate_draft(0);
    }

    /// The decode step as text, a line per dispatch.
    pub fn describe(&self) -> Result<String> {
        self.decoder.describe(&self.gpu)
    }

    /// The prompt of a conversation through the model's template; `Error::Unsupported` when the model has none. Messages
    /// are `Message`s, or JSON with further keys; the date is today's where the options have none.
    pub fn chat_prompt<M: Serialize>(&self, messages: &[M], options: &ChatOptions) -> Result<Vec<u32>> {
        let Some(template) = &self.template else {
            return Err(Error::unsupported(format!("chatting with {}: it has no chat template", self.info.name)));
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        let options = ChatOptions { now: options.now.or(now), ..options.clone() };
        self.tokenizer.encode_prompt(&template.render(messages, &self.tokenizer, &options)?)
    }

    /// The prompt of a conversation that the answer follows, in messages as `read_messages` gives them. With `goes_on` the last one is the
    /// beginning of the answer, which goes on behind it.
    ///
    /// # Errors
    /// As `chat_prompt`, and `Invalid` where there is nothing to go on behind.
    pub fn answer_prompt(&self, messages: &[Value], options: &ChatOptions, goes_on: bool) -> Result<AnswerPrompt> {
        if !goes_on {
            let ids = self.chat_prompt(messages, options)?;
            return Ok(AnswerPrompt { is_reasoning: prompt_opens_reasoning(&self.tokenizer, &ids), ids });
        }
        let Some((begun, before)) = split_begun(messages) else {
            let message = "an answer goes on behind an assistant's message that calls nothing, the last of several";
            return Err(Error::invalid(message));
        };
        let opens = prompt_opens_reasoning(&self.tokenizer, &self.chat_prompt(before, options)?);
        let text = |name: &str| begun[name].as_str().unwrap_or_default();
        let (thought, said) = (text("reasoning_content"), text("content"));
        let options = ChatOptions { begun: begun_answer(opens, thought, said), ..options.clone() };
        let is_reasoning = said.is_empty() && (opens || !thought.is_empty());
        Ok(AnswerPrompt { ids: self.chat_prompt(before, &options)?, is_reasoning })
    }

    /// Whether it hears of these functions.
    ///
    /// # Errors
    /// `Invalid` where there are any and its template knows of none.
    pub fn check_tools(&self, tools: &[Value]) -> Result<()> {
        if tools.is_empty() || self.template.as_ref().is_some_and(ChatTemplate::takes_tools) {
            return Ok(());
        }
        Err(Error::invalid(format!("the chat template of {} knows no tools", self.info.name)))
    }

    /// Whether it has a chat template that a conversation goes through.
    pub fn chats(&self) -> bool {
        let greeting = [Message { role: "user".into(), content: "Hi".into() }];
        self.chat_prompt(&greeting, &ChatOptions::default()).is_ok()
    }

    /// The prompt that continues `text` as it stands, with the model's begin token.
    pub fn raw_prompt(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode_document(text)
    }

    /// Generates after `prompt`, handing pieces out as they come; `ControlFlow::Break` from the callback cancels.
    ///
    /// # Errors
    /// `Invalid` for an empty prompt, parameters out of range or a grammar that cannot be followed, `Limit` for a prompt that fills the context where `overflow` says
    /// that this is an error.
    pub async fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let mut run = self.begin(prompt, options, &[], Box::new(on_piece))?;
        if let Err(error) = self.answer(&mut run, options).await {
            // What is no number may stand anywhere in the slot.
            self.cached.borrow_mut()[run.slot].clear();
            self.truncate_draft(0);
            return Err(error);
        }
        Ok(self.end(run))
    }

    /// Reads the prompt and writes until the answer has ended, shifting where the context is full before.
    async fn answer(&self, run: &mut Run<'_>, options: &GenerateOptions) -> Result<()> {
        self.set_sampling(&options.sampling);
        while run.answer.finish.is_none() {
            self.read_text(run).await?;
            if run.answer.finish.is_some() {
                break;
            }
            if options.is_stepwise() {
                self.decode_stepwise(run, options.logprobs).await?;
            } else {
                run.push(self.sampled(run.next()).await?, None)?;
                self.decode(run, self.drafts(run)).await?;
            }
            if run.is_full() {
                self.shift(run);
            }
        }
        Ok(())
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

    async fn read_text(&self, run: &mut Run<'_>) -> Result<()> {
        let mut n_chunks = 0;
        while !run.has_read() {
            run.answer.hear_cancel();
            if run.answer.finish.is_some() {
                return Ok(());
            }
            self.read_chunk(run)?;
            n_chunks += 1;
            if n_chunks % CHUNKS_PER_WAIT == 0 {
                self.gpu.flush("reading the prompt").await?;
            }
        }
        self.read_for_draft(run).await
    }

    fn set_sampling(&self, sampling: &SamplingParams) {
        self.decoder.set_sampling(&self.gpu, sampling);
        if let Some(draft) = &self.draft {
            draft.set_sampling(&self.gpu, sampling);
        }
    }

    /// Chooses the token at `place` from the logits of the one before it.
    async fn sampled(&self, place: Place) -> Result<u32> {
        self.decoder.sample(&self.gpu, Some((place, &self.read_backs[0])))?;
        let bytes = self.gpu.fetch(&self.read_backs[0], 4).await?;
        Ok(bytemuck::pod_read_unaligned(&bytes))
    }

    /// The decode loop where the host has something to do between any two tokens: it says which may come, or reads the logits
    /// back. Begins at the logits of what was read.
    async fn decode_stepwise(&self, run: &mut Run<'_>, top: Option<usize>) -> Result<()> {
        loop {
            // The device computes the logits meanwhile.
            if let Some(allowed) = run.answer.allowed()? {
                self.decoder.mask_logits(&self.gpu, &allowed).await?;
            }
            // Read before sampling: the penalty changes them.
            let logits = match top {
                Some(_) => Some(self.decoder.logits(&self.gpu).await?),
                None => None,
            };
            let id = checked_token(self.sampled(run.next()).await?)?;
            run.push(id, logits.zip(top).map(|(logits, top)| step_logprobs(&self.tokenizer, &logits, id, top)))?;
            if run.answer.finish.is_some() || run.is_full() {
                return Ok(());
            }
            self.decoder.decode_to_logits(&self.gpu, run.next())?;
        }
    }

    /// What its tokens spell, for grammars of a library that the surface brings.
    pub fn vocabulary(&self) -> Vocabulary {
        Vocabulary::new(&self.tokenizer, self.info.vocab_size)
    }

    /// Whether grammars over its vocabulary are made.
    pub fn has_grammars(&self) -> bool {
        self.grammars.get().is_some()
    }

    /// Follows grammars by `grammars` from now on, instead of what the build has itself.
    pub fn set_grammars(&mut self, grammars: Grammars) {
        self.grammars = OnceCell::from(grammars);
    }

    /// Refuses what `generate` would refuse of the options' grammar.
    ///
    /// # Errors
    /// `Invalid` for a grammar that cannot be followed, or beside options that leave an answer unfinished.
    pub fn check_grammar(&self, options: &GenerateOptions) -> Result<()> {
        self.constraint(options).map(drop)
    }

    /// What the options' grammar makes of an answer.
    fn constraint(&self, options: &GenerateOptions) -> Result<Option<Constraint>> {
        let Some(grammar) = &options.grammar else { return Ok(None) };
        if options.stop.iter().any(|stop| !stop.is_empty()) || options.ignore_end {
            let what = "stop texts and ignore_end beside a grammar: it says itself where an answer ends";
            return Err(Error::invalid(what));
        }
        let grammars = match self.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let made = Grammars::new(&self.tokenizer, self.info.vocab_size)?;
                self.grammars.get_or_init(|| made)
            }
        };
        grammars.constraint(grammar).map(Some)
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

fn n_slots(options: &LoadOptions) -> Result<usize> {
    match options.parallel {
        None => Ok(1),
        Some(0) => Err(Error::invalid("answers at once: 1 or more wanted, not 0")),
        Some(wanted) if wanted <= MAX_SLOTS => Ok(wanted),
        Some(wanted) => {
            let (needed, available) = (wanted as u64, MAX_SLOTS as u64);
            Err(Error::Limit { what: "answers at once".into(), needed, available })
        }
    }
}

fn speculation(options: &LoadOptions, n_slots: usize) -> Result<Speculation> {
    match options.speculate {
        Speculate::Off => Ok(Speculation::None),
        Speculate::Lookup if n_slots == 1 => Ok(Speculation::Checks),
        Speculate::Lookup => Err(Error::unsupported("speculating in several answers at once")),
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
