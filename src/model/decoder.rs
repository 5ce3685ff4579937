//! The causal forward pass, for every decoder: token ids in the history, a token appended to it. Read `Decoder::forward` and
//! `Decoder::layer`.

mod batch;
mod drafter;
mod layer;
mod masks;
mod rounds;

use super::angles::angles;
use super::cache::KvCache;
use super::config::DecoderConfig;
use super::layers::{Input, Linear, Loader, Norm, NormStyle};
use super::loading::Loading;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::format::planes::STEP;
use crate::gpu::tensor::Columns;
use crate::gpu::{Buffer, Choices, Compiler, CopyOut, Extent, Gpu, Line, Program, ReadBack, Recording, Run};
use crate::kernels::attention::{Heads, KvType, Rope, Splits, Staged, split_len};
use crate::kernels::matmul::{Activation, Ids, Store, TILE_COLUMNS, embed};
use crate::kernels::sample::{SAMPLING_BYTES, nll, sample, write_sampling};
use crate::kernels::{ColumnsAre, PROGRESS_BYTES, Pass, Place, STATE_BYTES, write_state};
use crate::text::SamplingParams;
use batch::Batches;
use layer::{Layer, norm_style};
use masks::Masks;
use rounds::Rounds;
use std::cell::OnceCell;
use std::ops::Range;

pub use drafter::Drafter;
pub use rounds::ROUND_COLUMNS;

/// Work of a submit of a prompt: a second of a slow GPU. Systems take one for hung that does not answer for two, and a screen waits for
/// what was submitted.
const SUBMIT_FLOPS: u64 = 200_000_000_000;

/// Bytes that the logits of a scoring chunk may take.
const SCORE_BYTES: u64 = 64 << 20;

/// Activations of one step, `(n_columns, …)` each.
struct Scratch {
    /// The residual stream, before and after the layer half at work.
    x: Columns,
    x_next: Columns,
    normed: Columns,
    qkv: Columns,
    q: Columns,
    attended: Columns,
    /// Keys and values on their way to a cache of bytes.
    staged: Option<Staged>,
    /// Where attention over a long context leaves its parts.
    splits: Splits,
    gate_up: Columns,
    gated: Columns,
}

/// What a decoder needs to be run: the programs, recorded once.
struct Programs {
    /// A chunk of the prompt.
    chunk: Program,
    /// Logits of the chunk's last column.
    chunk_head: Program,
    /// The next token from the logits.
    sample: Program,
    /// One token through all layers and the head, then the next one: the decode loop. The first for short contexts, the
    /// last for all of it.
    steps: Vec<Step>,
    /// The same for several sequences at once, where there are slots for them.
    batches: Option<Batches>,
    /// What its part in speculation needs, where it has one.
    rounds: Option<Rounds>,
    /// Likelihoods of a chunk; compiled when first asked for.
    score: Option<Program>,
    /// What leaves the logits only some tokens; compiled when first asked for.
    masks: OnceCell<Masks>,
}

/// A decode step for contexts of up to `n_positions`: attention is split into as many parts as those may need.
struct Step {
    n_positions: usize,
    program: Program,
}

/// What is reserved for sequences.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Positions of a sequence.
    pub context_len: u32,
    /// Sequences at once: `MAX_SLOTS` at most.
    pub n_slots: usize,
    /// Element type of the cache.
    pub kv_type: KvType,
    /// What speculation the sequences are for.
    pub speculation: Speculation,
}

/// What a decoder does in speculative decoding (arXiv 2211.17192): one writes drafts, another checks several of them with one
/// read of its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speculation {
    /// Nothing.
    #[default]
    None,
    /// Checks drafts: those it finds in its own text, or those of a drafter.
    Checks,
    /// Writes drafts for another.
    Drafts,
}

/// A decoder on the GPU with its cache and programs.
pub struct Decoder {
    config: DecoderConfig,
    heads: Heads,
    n_slots: usize,
    /// Columns of a prefill chunk.
    chunk: u32,
    speculation: Speculation,
    layers: Vec<Layer>,
    output_norm: Norm,
    /// The head, where it is not the embedding.
    output: Option<Linear>,
    embedding: Linear,
    /// Learned positions, where nothing rotates.
    positions: Option<Linear>,
    vectors: Buffer,
    /// Cosines and sines, `(context_len, rotated / 2)`, of each rotation.
    angles: Vec<Buffer>,
    cache: KvCache,
    state: Buffer,
    sampling: Buffer,
    /// Token ids by position, `(n_slots, context_len + 1)`.
    history: Buffer,
    logits: Columns,
    /// Likelihoods of a scoring chunk.
    scores: Buffer,
    programs: Option<Programs>,
}

impl Decoder {
    /// Lays `checkpoint` out on the GPU with a cache of `room` and begins to compile: what is wrong with its shapes is known
    /// before gigabytes are read and shaders compiled.
    pub async fn load<'a>(gpu: &'a Gpu, checkpoint: &'a Checkpoint, room: Room) -> Result<Loading<'a, Self>> {
        let Room { context_len, n_slots, kv_type, speculation } = room;
        let config = DecoderConfig::new(checkpoint)?;
        let shape = config.shape.clone();
        let heads = Heads {
            n_heads: shape.n_heads,
            n_kv_heads: shape.n_kv_heads,
            head_dim: shape.head_dim,
            context_len,
            kv_type,
        };
        let chunk = gpu.choices().chunk;
        let cache = KvCache::new(gpu, &heads, &config.layers, n_slots, chunk)?;
        let rope = config.layers.iter().map(|layer| layer.rope).find(|rope| *rope != Rope::None);
        let angles = angles(gpu, checkpoint, &shape, (rope, &config.rotations), context_len).await?;
        let mut loader = Loader::new(gpu, checkpoint);
        let has_embedding = checkpoint.tensor("token_embd.weight").is_some();
        // Tied models store one of the two, by either name.
        let name = if has_embedding { "token_embd.weight" } else { "output.weight" };
        let embedding = Linear::load_table(&mut loader, name, shape.vocab_size, shape.dim)?;
        let output = if has_embedding && checkpoint.tensor("output.weight").is_some() {
            Some(Linear::load_table(&mut loader, "output.weight", shape.vocab_size, shape.dim)?)
        } else {
            None
        };
        let positions = learned_positions(&mut loader, context_len, shape.dim)?;
        let mut layers = Vec::with_capacity(shape.n_layers as usize);
        for i in 0..shape.n_layers {
            layers.push(Layer::load(&mut loader, &config, i)?);
        }
        let style = norm_style(&config);
        let line = Line { factor: config.logit_scale, ..style.line };
        let output_norm = Norm::load(&mut loader, "output_norm", shape.dim, NormStyle { line, ..style })?;
        loader.check_complete()?;
        let (vectors, mut weights) = loader.finish()?;
        let mut model = Self {
            layers,
            output_norm,
            output,
            embedding,
            positions,
            vectors,
            angles,
            cache,
            state: gpu.uniform("state", STATE_BYTES),
            sampling: gpu.uniform("sampling", SAMPLING_BYTES),
            history: gpu.buffer("history", n_slots as u64 * (u64::from(context_len) + 1) * 4)?,
            logits: Columns::new(gpu, "logits", 1, shape.vocab_size)?,
            scores: gpu.buffer("scores", u64::from(chunk) * 4)?,
            programs: None,
            config,
            heads,
            n_slots,
            chunk,
            speculation,
        };
        weights.begin().await;
        let mut compiler = gpu.compiler();
        model.compile(&mut compiler)?;
        Ok(Loading { model, weights, compiler })
    }

    /// Records the programs and begins to compile them.
    fn compile(&mut self, compiler: &mut Compiler<'_>) -> Result<()> {
        let gpu = compiler.gpu();
        let many = Scratch::new(gpu, &self.config, &self.heads, self.chunk)?;
        let mut one = Scratch::new(gpu, &self.config, &self.heads, 1)?;
        let decode = self.record(gpu, |decoder, pass| decoder.decode_step(pass, &one));
        let split_len = split_len(&gpu.choices());
        let mut steps = vec![Step { n_positions: split_len as usize, program: compiler.program(&decode)? }];
        for n_splits in split_counts(self.heads.context_len, split_len) {
            one.splits = Splits::new(gpu, &self.heads, 1, n_splits)?;
            let recording = self.record(gpu, |decoder, pass| decoder.decode_step(pass, &one));
            let program = compiler.program(&recording)?;
            steps.push(Step { n_positions: (n_splits * split_len) as usize, program });
        }
        let chunk = self.record(gpu, |decoder, pass| decoder.forward(pass, &many));
        let chunk_head = self.record(gpu, |decoder, pass| decoder.head(pass, &many));
        let sampler = self.record(gpu, |decoder, pass| decoder.choose(pass));
        self.programs = Some(Programs {
            chunk: compiler.program(&chunk)?,
            steps,
            batches: self.compile_batches(compiler)?,
            rounds: self.compile_rounds(compiler)?,
            chunk_head: compiler.program(&chunk_head)?,
            sample: compiler.program(&sampler)?,
            score: None,
            masks: OnceCell::new(),
        });
        Ok(())
    }

    /// Bytes of keys and values.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.n_bytes()
    }

    /// Token ids by slot and position, `(n_slots, context_len + 1)`.
    pub fn history(&self) -> &Buffer {
        &self.history
    }

    /// Dispatches of one decode step in a context of `n_positions`.
    pub fn dispatches_per_token(&self, n_positions: usize) -> u32 {
        self.step(n_positions).map_or(0, |program| program.n_dispatches() as u32)
    }

    /// The decode step as text, a line per dispatch.
    pub fn describe(&self, gpu: &Gpu) -> Result<String> {
        let one = Scratch::new(gpu, &self.config, &self.heads, 1)?;
        Ok(self.record(gpu, |decoder, pass| decoder.decode_step(pass, &one)).describe())
    }

    /// Columns of a prefill chunk.
    pub fn chunk_len(&self) -> usize {
        self.chunk as usize
    }

    /// An empty recording. Where tokens may be run together, of several sequences or with drafts, one alone takes the same
    /// sums in the same order.
    fn recording(&self, gpu: &Gpu) -> Recording {
        let alike = self.n_slots > 1 || self.speculation != Speculation::None;
        Recording::new(gpu.caps(), Choices { alike, ..gpu.choices() })
    }

    fn record(&self, gpu: &Gpu, body: impl FnOnce(&Self, &mut Pass<'_>)) -> Recording {
        let mut rec = self.recording(gpu);
        let (state, columns) = (&self.state, ColumnsAre::Sequence);
        body(self, &mut Pass { rec: &mut rec, state, columns, vectors: &self.vectors });
        rec
    }

    /// Ids at the step's positions of the history → the residual stream after the last layer, in `s.x`.
    fn forward(&self, pass: &mut Pass<'_>, s: &Scratch) {
        let ids = Ids::ByPosition { history: &self.history, stride: self.heads.context_len + 1 };
        embed(pass, &self.embedding.weights, self.config.embedding_scale, ids, &s.x, Store::Set);
        if let Some(positions) = &self.positions {
            embed(pass, &positions.weights, 1.0, Ids::Positions, &s.x, Store::Add);
        }
        for i in 0..self.layers.len() {
            self.layer(pass, s, i);
        }
    }

    /// The last column's residual stream → `self.logits`.
    fn head(&self, pass: &mut Pass<'_>, s: &Scratch) {
        let x = Input::last(pass, &self.output_norm, &s.x, &s.normed);
        self.write_logits(pass, x, &self.logits);
    }

    /// All columns' residual streams → `logits`.
    fn heads(&self, pass: &mut Pass<'_>, s: &Scratch, logits: &Columns) {
        let x = Input::normed(pass, &self.output_norm, &s.x, &s.normed);
        self.write_logits(pass, x, logits);
    }

    fn write_logits(&self, pass: &mut Pass<'_>, x: Input<'_>, logits: &Columns) {
        let bound = self.config.logit_softcap.map_or(Activation::Identity, Activation::SoftCap);
        self.output.as_ref().unwrap_or(&self.embedding).record(pass, x, logits, bound, None);
    }

    /// `self.logits` → the next id of the history.
    fn choose(&self, pass: &mut Pass<'_>) {
        sample(pass, &self.sampling, &self.logits, &self.history, self.heads.context_len);
    }

    /// One token of the decode loop: the history's last id through all layers, the next one appended.
    fn decode_step(&self, pass: &mut Pass<'_>, s: &Scratch) {
        self.forward(pass, s);
        self.head(pass, s);
        self.choose(pass);
    }

    fn programs(&self) -> Result<&Programs> {
        self.programs.as_ref().ok_or(Error::Gpu { during: "running a model", reason: "it was not compiled".into() })
    }

    /// What a prompt's last chunk runs, for measuring: the chunk, the head, the choice. Chunks before it run the first alone.
    pub(crate) fn prompt_programs(&self) -> Result<[&Program; 3]> {
        let programs = self.programs()?;
        Ok([&programs.chunk, &programs.chunk_head, &programs.sample])
    }

    /// The decode step whose token sees `n_positions` positions.
    pub(crate) fn step(&self, n_positions: usize) -> Result<&Program> {
        fitting(&self.programs()?.steps, n_positions)
    }

    /// Sets how the next tokens are chosen.
    pub fn set_sampling(&self, gpu: &Gpu, sampling: &SamplingParams) {
        write_sampling(gpu, &self.sampling, 0, sampling);
    }

    /// Puts the next step at `first`, with `n_tokens` columns.
    pub(crate) fn set_state(&self, gpu: &Gpu, first: impl Into<Place>, n_tokens: usize) {
        if let Some(programs) = &self.programs {
            let chunks = [Some(&programs.chunk), programs.score.as_ref()];
            chunks.into_iter().flatten().for_each(|program| program.set_columns(n_tokens as u32));
        }
        write_state(gpu, &self.state, first.into(), n_tokens);
    }

    /// Runs at most `chunk_len` prompt tokens at positions from `first`; the cache then holds them.
    pub fn prefill(&self, gpu: &Gpu, first: impl Into<Place>, tokens: &[u32]) -> Result<()> {
        let first = first.into();
        self.cache.wrote(first.slot, first.position, first.position + tokens.len());
        gpu.write(&self.history, self.history_offset(first), bytemuck::cast_slice(tokens));
        self.set_state(gpu, first, tokens.len());
        let extent = Extent::causal(first.position as u64, tokens.len() as u64);
        self.programs()?.chunk.pieces(&extent, SUBMIT_FLOPS).try_for_each(|run| gpu.submit_runs(&[run], &[]))
    }

    /// Whether the cache still holds all that a token at `place` sees: with windows, what lies far behind the last token that
    /// was ever run is lost.
    pub fn resumes(&self, place: Place) -> bool {
        self.cache.resumes(place.slot, place.position)
    }

    /// Logits of the last prefilled token.
    pub fn prefill_head(&self, gpu: &Gpu) -> Result<()> {
        gpu.submit(&self.programs()?.chunk_head, None)
    }

    /// Chooses a token from the logits and appends it to the history of the state's slot; copies the one at a place there
    /// when asked.
    pub fn sample(&self, gpu: &Gpu, copy: Option<(Place, &ReadBack)>) -> Result<()> {
        let copies: Vec<_> = copy.map(|(place, to)| self.history_copy(place, 1, to, 0)).into_iter().collect();
        gpu.submit_runs(&[self.programs()?.sample.whole()], &copies)
    }

    /// Decode steps of the state's slot, `slot`, that choose the tokens at `positions`, in one submit, and copy them to `to`.
    /// A step is the last token through all layers, then the next one appended to the history.
    pub fn decode(&self, gpu: &Gpu, slot: usize, positions: Range<usize>, to: &ReadBack) -> Result<()> {
        self.cache.wrote(slot, positions.start, positions.end);
        let copy = self.history_copy(Place { slot, position: positions.start }, positions.len(), to, 0);
        gpu.submit_runs(&self.step_runs(positions.start, positions.len())?, &[copy])
    }

    /// `n` decode steps, the first of which chooses the token at `next`.
    pub fn step_runs(&self, next: usize, n: usize) -> Result<Vec<Run<'_>>> {
        (next..next + n).map(|position| Ok(self.step(position)?.whole())).collect()
    }

    /// Runs what chooses tokens in one submit; copies to `to` how far the state has come (`PROGRESS_BYTES`), then the `n` ids
    /// of the history from `first` on.
    pub fn advance(&self, gpu: &Gpu, runs: &[Run<'_>], first: Place, n: usize, to: &ReadBack) -> Result<()> {
        self.cache.wrote(first.slot, first.position, first.position + n);
        let progress = CopyOut { from: &self.state, offset: 0, n_bytes: PROGRESS_BYTES, to, to_offset: 0 };
        gpu.submit_runs(runs, &[progress, self.history_copy(first, n, to, PROGRESS_BYTES as usize / 4)])
    }

    /// A decode step that stops at the logits of the token at `next`.
    pub fn decode_to_logits(&self, gpu: &Gpu, next: impl Into<Place>) -> Result<()> {
        let Place { slot, position } = next.into();
        self.cache.wrote(slot, position, position + 1);
        gpu.submit_runs(&[self.step(position)?.without_last()], &[])
    }

    /// The logits of the last step, `(vocab_size)`.
    pub async fn logits(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        Ok(self.logits.read(gpu, 1).await?.swap_remove(0))
    }

    /// Byte of the history where the id at `place` stands.
    fn history_offset(&self, place: Place) -> u64 {
        (place.slot as u64 * (u64::from(self.heads.context_len) + 1) + place.position as u64) * 4
    }

    /// A copy of `n` ids from `first` to `to`, behind `n_before` others.
    fn history_copy<'a>(&'a self, first: Place, n: usize, to: &'a ReadBack, n_before: usize) -> CopyOut<'a> {
        let from = &self.history;
        CopyOut { from, offset: self.history_offset(first), n_bytes: n as u64 * 4, to, to_offset: n_before as u64 * 4 }
    }

    /// Columns of a scoring chunk: as many as keep its logits in bounds.
    fn score_columns(&self) -> u32 {
        let fit = SCORE_BYTES / (u64::from(self.config.shape.vocab_size.next_multiple_of(STEP as u32)) * 4);
        (fit as u32 / TILE_COLUMNS * TILE_COLUMNS).clamp(TILE_COLUMNS, self.chunk)
    }

    /// −ln p of every token of `ids` behind position `first`, given those before it. The cache of the first slot holds the ids before
    /// `first`, and afterwards all but the last.
    pub async fn score(&mut self, gpu: &Gpu, ids: &[u32], first: usize) -> Result<Vec<f32>> {
        let n_columns = self.score_columns();
        if self.programs()?.score.is_none() {
            let scratch = Scratch::new(gpu, &self.config, &self.heads, n_columns)?;
            let logits = Columns::new(gpu, "logits to score", n_columns, self.config.shape.vocab_size)?;
            let recording = self.record(gpu, |decoder, pass| {
                decoder.forward(pass, &scratch);
                decoder.heads(pass, &scratch, &logits);
                nll(pass, &logits, &decoder.history, &decoder.scores);
            });
            let program = gpu.program(&recording, &mut |_, _| {}).await?;
            if let Some(programs) = &mut self.programs {
                programs.score = Some(program);
            }
        }
        gpu.write(&self.history, self.history_offset(first.into()), bytemuck::cast_slice(&ids[first..]));
        let n_scores = ids.len().saturating_sub(first + 1);
        self.cache.wrote(0, first, first + n_scores);
        let mut scores = Vec::with_capacity(n_scores);
        while scores.len() < n_scores {
            let n = (n_columns as usize).min(n_scores - scores.len());
            self.set_state(gpu, first + scores.len(), n);
            if let Some(program) = &self.programs()?.score {
                gpu.submit(program, None)?;
            }
            let bytes = gpu.read(&self.scores, 0, n as u64 * 4).await?;
            scores.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes));
        }
        Ok(scores)
    }
}

/// The step among `steps`, the shortest first, whose columns see up to `n_positions` positions.
fn fitting(steps: &[Step], n_positions: usize) -> Result<&Program> {
    let fits = steps.iter().find(|step| n_positions <= step.n_positions).or(steps.last());
    let missing = || Error::Gpu { during: "running a model", reason: "it has no decode step".into() };
    fits.map(|step| &step.program).ok_or_else(missing)
}

/// Parts of attention in the decode steps for contexts longer than one part: few enough steps to record them all, and never
/// more than four times the parts that a context needs.
fn split_counts(context_len: u32, split_len: u32) -> Vec<u32> {
    let most = context_len.div_ceil(split_len);
    let counts = std::iter::successors(Some(4u32), |n| n.checked_mul(4)).take_while(|n| *n < most);
    if most > 1 { counts.chain([most]).collect() } else { Vec::new() }
}

/// The table of learned positions, where the checkpoint has one: a row for each position of the context.
fn learned_positions(loader: &mut Loader<'_>, context_len: u32, dim: u32) -> Result<Option<Linear>> {
    let name = "position_embd.weight";
    let Some(info) = loader.checkpoint.tensor(name) else { return Ok(None) };
    let n_rows = info.rows() as u32;
    if n_rows < context_len {
        let what = format!("positions of {}", loader.checkpoint.name());
        return Err(Error::Limit { what, needed: context_len.into(), available: n_rows.into() });
    }
    Linear::load_table(loader, name, n_rows, dim).map(Some)
}

impl Scratch {
    fn new(gpu: &Gpu, config: &DecoderConfig, heads: &Heads, n_columns: u32) -> Result<Self> {
        let shape = &config.shape;
        let columns = |label: &str, n_values: u32| Columns::new(gpu, label, n_columns, n_values);
        Ok(Self {
            x: columns("x", shape.dim)?,
            x_next: columns("x_next", shape.dim)?,
            normed: columns("normed", shape.dim)?,
            qkv: columns("qkv", shape.qkv_dim())?,
            q: columns("q", shape.q_dim())?,
            attended: columns("attended", shape.q_dim())?,
            staged: Staged::new(gpu, heads, n_columns)?,
            splits: Splits::NONE,
            gate_up: columns("gate_up", 2 * shape.ffn_dim)?,
            gated: columns("gated", shape.ffn_dim)?,
        })
    }
}
