//! The bidirectional forward pass, for every encoder: a ragged batch of texts, no padding between them, one submit and one
//! read-back. Read `Encoder::forward` and `Encoder::layer`.

mod head;
mod layer;

use super::angles::angles;
use super::config::{EncoderConfig, HeadOf, NormType};
use super::layers::{Linear, Loader, Norm, NormStyle};
use super::loading::Loading;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::tensor::Columns;
use crate::gpu::{Buffer, Choices, Compiler, Cost, Extent, Gpu, Line, Program};
use crate::kernels::attention::{FAR, Heads, KvBuffers, KvType, Rope};
use crate::kernels::elementwise::{Pooling, Scaling};
use crate::kernels::matmul::{Ids, Store, embed};
use crate::kernels::{ColumnsAre, Pass, Place, STATE_BYTES, write_state};
use head::Head;
use layer::Layer;
use std::collections::HashMap;

/// Numbers of tokens that programs are recorded for; a batch takes the smallest that holds it.
fn buckets(choices: &Choices) -> &'static [u32] {
    if choices.is_wide() { &[64, 256, 1024, 4096] } else { &[64, 256, 1024] }
}

/// Texts of a batch at most.
pub const MAX_TEXTS: usize = 64;

/// Rows of results up to which a head may have more values than this: those of a vocabulary.
const MAX_WIDE_ROWS: u32 = 64;
const WIDE: u32 = 4096;

/// What a program leaves of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// One vector `(dim)` per text.
    Embedding(Pooling, Scaling),
    /// The scores `(n_labels)` of each text by a head that is about texts.
    Logits,
    /// The scores `(n_labels)` of each token that is asked about, by a head that is about tokens.
    TokenLogits,
}

/// A text as an encoder takes it.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its tokens.
    pub ids: &'a [u32],
    /// Where the second text of a pair begins: tokens from there on are of the second type.
    pub second: usize,
    /// Tokens that `TokenLogits` is asked about, ascending; none means all.
    pub asked: Option<&'a [usize]>,
}

impl<'a> From<&'a [u32]> for Text<'a> {
    /// A text alone.
    fn from(ids: &'a [u32]) -> Self {
        Self { ids, second: ids.len(), asked: None }
    }
}

impl<'a> From<&Self> for Text<'a> {
    fn from(text: &Self) -> Self {
        *text
    }
}

impl<'a> From<&&'a [u32]> for Text<'a> {
    fn from(ids: &&'a [u32]) -> Self {
        Self::from(*ids)
    }
}

/// Activations of one batch, `(bucket, …)` each.
struct Scratch {
    /// The residual stream, before and after the layer half at work.
    x: Columns,
    x_next: Columns,
    normed: Columns,
    qkv: Columns,
    q: Columns,
    attended: Columns,
    gate_up: Columns,
    hidden: Columns,
    cache: KvBuffers,
    /// Results, one column per text or token asked about.
    pooled: Columns,
    dense: Columns,
}

/// A program with where it leaves its results.
pub(crate) struct Run {
    pub(crate) program: Program,
    output: Columns,
    /// Its first dispatches work per token, those after them per text.
    n_per_token: usize,
}

impl Run {
    /// What every dispatch has to do on texts of these lengths.
    pub(crate) fn costs(&self, lens: &[u64]) -> Vec<Cost> {
        let mut costs = self.program.costs(&Extent::texts(lens));
        costs.truncate(self.n_per_token);
        costs.extend(self.program.costs(&Extent::pooled(lens)).split_off(self.n_per_token));
        costs
    }
}

/// An encoder on the GPU.
pub struct Encoder {
    config: EncoderConfig,
    layers: Vec<Layer>,
    words: Linear,
    /// Learned positions, where nothing rotates.
    positions: Option<Linear>,
    types: Option<Linear>,
    embedding_norm: Norm,
    /// Of encoders whose layers norm before their halves.
    output_norm: Option<Norm>,
    head: Option<Head>,
    vectors: Buffer,
    /// Cosines and sines, `(most tokens, rotated / 2)`, of each rotation.
    angles: Vec<Buffer>,
    /// Biases of scores by head and distance, where the model has them.
    relative: Option<Buffer>,
    /// The head's own bias, where it came from another file.
    head_vectors: Option<Buffer>,
    /// How many columns a batch has, and how many texts.
    state: Buffer,
    texts_state: Buffer,
    ids: Buffer,
    position_ids: Buffer,
    type_ids: Buffer,
    /// First and one-past-last column of each column's text, and of each text or token asked about.
    spans: Buffer,
    texts: Buffer,
    buckets: &'static [u32],
    runs: HashMap<(u32, Output), Run>,
}

impl Encoder {
    /// Lays `checkpoint` out on the GPU and begins to compile what its first short batch will need: the head's scores, or
    /// vectors where there is no head.
    pub async fn load<'a>(gpu: &'a Gpu, checkpoint: &'a Checkpoint) -> Result<Loading<'a, Self>> {
        let config = EncoderConfig::new(checkpoint).await?;
        let shape = config.shape.clone();
        let mut loader = Loader::new(gpu, checkpoint);
        let words = Linear::load_table(&mut loader, "token_embd.weight", shape.vocab_size, shape.dim)?;
        let n_positions = shape.context_len + config.first_position;
        let positions = match checkpoint.tensor("position_embd.weight") {
            Some(_) => Some(Linear::load_table(&mut loader, "position_embd.weight", n_positions, shape.dim)?),
            None => None,
        };
        let types = match checkpoint.tensor("token_types.weight") {
            Some(info) => Some(Linear::load_table(&mut loader, "token_types.weight", info.rows() as u32, shape.dim)?),
            None => None,
        };
        let style = norm_style(&config);
        let embedding_norm = Norm::load(&mut loader, "token_embd_norm", shape.dim, style)?;
        let output_norm = Norm::find(&mut loader, "output_norm", shape.dim, style)?;
        let mut layers = Vec::with_capacity(shape.n_layers as usize);
        for i in 0..shape.n_layers {
            layers.push(Layer::load(&mut loader, &config, i)?);
        }
        let head = Head::load(&mut loader, &config, &words)?;
        loader.check_complete()?;
        let (vectors, mut weights) = loader.finish()?;
        let buckets = buckets(&gpu.choices());
        let most = buckets[buckets.len() - 1];
        let rope = config.layers.iter().map(|layer| layer.rope).find(|rope| *rope != Rope::None);
        let angles = angles(gpu, checkpoint, &shape, (rope, &config.rotations), most).await?;
        let relative = relative_biases(gpu, checkpoint, shape.n_heads).await?;
        let most = u64::from(most);
        let mut model = Self {
            layers,
            words,
            positions,
            types,
            embedding_norm,
            output_norm,
            head,
            vectors,
            angles,
            relative,
            head_vectors: None,
            state: gpu.uniform("state", STATE_BYTES),
            texts_state: gpu.uniform("state of texts", STATE_BYTES),
            ids: gpu.buffer("ids", most * 4)?,
            position_ids: gpu.buffer("position ids", most * 4)?,
            type_ids: gpu.buffer("type ids", most * 4)?,
            spans: gpu.buffer("spans", most * 8)?,
            texts: gpu.buffer("texts", most * 8)?,
            buckets,
            runs: HashMap::new(),
            config,
        };
        let first = match &model.head {
            Some(head) if matches!(head.of, HeadOf::Token | HeadOf::Answer) => Output::TokenLogits,
            Some(head) if head.of != HeadOf::Mask => Output::Logits,
            _ => Output::Embedding(model.config.pooling, Scaling::Raw),
        };
        weights.begin().await;
        let mut compiler = gpu.compiler();
        let run = model.record(&mut compiler, buckets[0], first)?;
        model.runs.insert((buckets[0], first), run);
        Ok(Loading { model, weights, compiler })
    }

    /// Replaces the head by the linear one of `checkpoint`, on mean-pooled vectors of length 1.
    pub async fn load_head(&mut self, gpu: &Gpu, checkpoint: &Checkpoint, labels: Vec<String>) -> Result<()> {
        let mut loader = Loader::new(gpu, checkpoint);
        let names = ["cls.output.weight".to_owned()];
        let n_labels = crate::gpu::tensor::expect(checkpoint, &names[0])?.rows() as u32;
        let classifier = Linear::load(&mut loader, &names, n_labels, self.config.shape.dim)?;
        let (vectors, weights) = loader.finish()?;
        weights.read(&mut |_| Ok(())).await?;
        self.head_vectors = Some(vectors);
        self.head = Some(Head::linear(classifier));
        self.config.labels = labels;
        self.config.head.scores = None;
        self.runs.retain(|(_, output), _| *output != Output::Logits);
        Ok(())
    }

    /// Hyperparameters.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Names the head's classes.
    pub fn set_labels(&mut self, labels: Vec<String>) {
        self.config.labels = labels;
    }

    /// Rows of the head; none without one.
    pub fn n_labels(&self) -> Option<u32> {
        self.head.as_ref().map(Head::n_labels)
    }

    /// What the head is about; none without one.
    pub fn head(&self) -> Option<HeadOf> {
        self.head.as_ref().map(|head| head.of)
    }

    /// Tokens of a batch at most.
    pub fn batch_len(&self) -> usize {
        self.buckets[self.buckets.len() - 1] as usize
    }

    /// Rows of results of a batch at most.
    pub fn rows_len(&self, output: Output) -> Result<usize> {
        Ok(self.most_rows(self.buckets[self.buckets.len() - 1], output)? as usize)
    }

    /// Runs `batch`, at most `MAX_TEXTS` texts and `batch_len` ids in all: a row per text, or per token asked about.
    pub async fn run<'a, T>(&mut self, gpu: &Gpu, batch: &'a [T], output: Output) -> Result<Vec<Vec<f32>>>
    where
        Text<'a>: From<&'a T>,
    {
        let batch: Vec<Text<'a>> = batch.iter().map(Text::from).collect();
        let run = self.stage(gpu, &batch, output).await?;
        gpu.submit(&run.program, None)?;
        run.output.read(gpu, asked(&batch, output).count()).await
    }

    /// Writes `batch` to the device and returns what will run it.
    pub(crate) async fn stage(&mut self, gpu: &Gpu, batch: &[Text<'_>], output: Output) -> Result<&Run> {
        let n_tokens: usize = batch.iter().map(|text| text.ids.len()).sum();
        let Some(bucket) = self.buckets.iter().copied().find(|bucket| n_tokens <= *bucket as usize) else {
            let available = self.batch_len() as u64;
            return Err(Error::Limit { what: "tokens of a batch".into(), needed: n_tokens as u64, available });
        };
        assert!((1..=MAX_TEXTS).contains(&batch.len()), "texts of a batch");
        let (n_rows, available) = (asked(batch, output).count() as u64, self.most_rows(bucket, output)?.into());
        if n_rows > available {
            return Err(Error::Limit { what: "tokens asked about in a batch".into(), needed: n_rows, available });
        }
        if !self.runs.contains_key(&(bucket, output)) {
            let mut compiler = gpu.compiler();
            let run = self.record(&mut compiler, bucket, output)?;
            compiler.finish(&mut |_, _| Ok(())).await?;
            self.runs.insert((bucket, output), run);
        }
        self.write_batch(gpu, batch, output);
        let run = &self.runs[&(bucket, output)];
        // Rows of results are no more than tokens, so what works per row is held to the same number.
        run.program.set_columns(n_tokens as u32);
        Ok(run)
    }

    /// Rows of results that a program for batches of `bucket` tokens has room for.
    fn most_rows(&self, bucket: u32, output: Output) -> Result<u32> {
        match (output, &self.head) {
            (Output::Embedding(..), _) => Ok(MAX_TEXTS as u32),
            (_, None) => Err(Error::unsupported("classifying with a model that has no head")),
            (Output::Logits, Some(Head { of: HeadOf::Text(_), .. })) => Ok(MAX_TEXTS as u32),
            (Output::Logits, Some(_)) => {
                Err(Error::unsupported("classifying texts with a model whose head is about tokens"))
            }
            (Output::TokenLogits, Some(Head { of: HeadOf::Text(_), .. })) => {
                Err(Error::unsupported("labels of tokens from a model whose head is about whole texts"))
            }
            (Output::TokenLogits, Some(head)) if head.n_labels() > WIDE => Ok(MAX_WIDE_ROWS),
            (Output::TokenLogits, Some(_)) => Ok(bucket),
        }
    }

    fn write_batch(&self, gpu: &Gpu, batch: &[Text<'_>], output: Output) {
        let (mut ids, mut positions, mut types, mut spans) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for text in batch {
            let span = [ids.len() as u32, (ids.len() + text.ids.len()) as u32];
            let first = self.config.first_position;
            ids.extend_from_slice(text.ids);
            positions.extend(first..first + text.ids.len() as u32);
            types.extend((0..text.ids.len()).map(|i| u32::from(i >= text.second)));
            spans.resize(ids.len(), span);
        }
        let rows: Vec<[u32; 2]> = asked(batch, output).collect();
        gpu.write(&self.ids, 0, bytemuck::cast_slice(&ids));
        gpu.write(&self.position_ids, 0, bytemuck::cast_slice(&positions));
        gpu.write(&self.type_ids, 0, bytemuck::cast_slice(&types));
        gpu.write(&self.spans, 0, bytemuck::cast_slice(&spans));
        gpu.write(&self.texts, 0, bytemuck::cast_slice(&rows));
        write_state(gpu, &self.state, Place::START, ids.len());
        write_state(gpu, &self.texts_state, Place::START, rows.len());
    }

    /// Records what batches of this size need and begins to compile it.
    fn record(&self, compiler: &mut Compiler<'_>, bucket: u32, output: Output) -> Result<Run> {
        let gpu = compiler.gpu();
        let n_rows = self.most_rows(bucket, output)?;
        let scratch = Scratch::new(gpu, &self.config, bucket, n_rows)?;
        let mut rec = gpu.recording();
        let mut pass =
            Pass { rec: &mut rec, state: &self.state, columns: ColumnsAre::Sequence, vectors: &self.vectors };
        let x = self.forward(&mut pass, &scratch);
        let n_per_token = rec.len();
        let results = self.finish(gpu, &mut rec, (&scratch, x), output)?;
        let program = compiler.program(&rec)?;
        Ok(Run { program, output: results, n_per_token })
    }

    /// Ids, positions and spans of the batch → the residual stream after the last layer, one of `s`' columns.
    fn forward<'a>(&self, pass: &mut Pass<'_>, s: &'a Scratch) -> &'a Columns {
        embed(pass, &self.words.weights, 1.0, Ids::ByColumn(&self.ids), &s.x_next, Store::Set);
        if let Some(positions) = &self.positions {
            embed(pass, &positions.weights, 1.0, Ids::ByColumn(&self.position_ids), &s.x_next, Store::Add);
        }
        if let Some(types) = &self.types {
            embed(pass, &types.weights, 1.0, Ids::ByColumn(&self.type_ids), &s.x_next, Store::Add);
        }
        self.embedding_norm.record(pass, &s.x_next, None, &s.x);
        for i in 0..self.layers.len() {
            self.layer(pass, s, i);
        }
        let Some(norm) = &self.output_norm else { return &s.x };
        norm.record(pass, &s.x, None, &s.x_next);
        &s.x_next
    }

    fn heads(&self, bucket: u32) -> Heads {
        let shape = &self.config.shape;
        Heads {
            n_heads: shape.n_heads,
            n_kv_heads: shape.n_kv_heads,
            head_dim: shape.head_dim,
            context_len: bucket,
            kv_type: KvType::F32,
        }
    }
}

/// The columns that results are about: each text's, or each token's that is asked about.
fn asked<'a>(batch: &'a [Text<'a>], output: Output) -> impl Iterator<Item = [u32; 2]> + 'a {
    let mut first = 0;
    batch.iter().flat_map(move |text| {
        let (begin, len) = (first, text.ids.len() as u32);
        first += len;
        let spans: Box<dyn Iterator<Item = [u32; 2]>> = match (output, text.asked) {
            (Output::TokenLogits, Some(asked)) => {
                Box::new(asked.iter().map(move |at| [begin + *at as u32, begin + *at as u32 + 1]))
            }
            (Output::TokenLogits, None) => Box::new((begin..begin + len).map(|at| [at, at + 1])),
            _ => Box::new(std::iter::once([begin, begin + len])),
        };
        spans
    })
}

/// What its norms are.
fn norm_style(config: &EncoderConfig) -> NormStyle {
    NormStyle { kind: NormType::Layer, eps: config.shape.norm_eps, line: Line::AS_FILED }
}

/// Biases of scores `(n_heads, 2·FAR + 1)` by how far a position is behind the column, from T5's buckets of distances
/// (arXiv 1910.10683): as many for each direction, half of them exact, the others growing with the logarithm up to `FAR`.
async fn relative_biases(gpu: &Gpu, checkpoint: &Checkpoint, n_heads: u32) -> Result<Option<Buffer>> {
    let name = "attn_rel_b.weight";
    let Some(info) = checkpoint.tensor(name) else { return Ok(None) };
    let n_buckets = info.rows() as usize;
    if info.cols() != u64::from(n_heads) || n_buckets < 4 || !n_buckets.is_multiple_of(4) {
        let reason = format!("tensor {name} has shape {:?}, (a multiple of 4, {n_heads}) was wanted", info.shape);
        return Err(Error::format(checkpoint.name(), reason));
    }
    let by_bucket = checkpoint.read_f32(name).await?;
    let far = FAR as i32;
    let of = |head: usize, behind: i32| by_bucket[bucket_of(behind, n_buckets / 2) * n_heads as usize + head];
    let table: Vec<f32> = (0..n_heads as usize)
        .flat_map(|head| (-far..=far).map(move |behind| (head, behind)))
        .map(|(h, b)| of(h, b))
        .collect();
    let buffer = gpu.buffer("biases by distance", table.len() as u64 * 4)?;
    gpu.write(&buffer, 0, bytemuck::cast_slice(&table));
    Ok(Some(buffer))
}

/// The bucket of a distance, of `n` for each direction.
fn bucket_of(behind: i32, n: usize) -> usize {
    let (distance, n_exact) = (behind.unsigned_abs() as usize, n / 2);
    let within = if distance < n_exact {
        distance
    } else {
        let share = (distance as f32 / n_exact as f32).ln() / (FAR as f32 / n_exact as f32).ln();
        (n_exact + (share * (n - n_exact) as f32) as usize).min(n - 1)
    };
    if behind > 0 { n + within } else { within }
}

impl Scratch {
    fn new(gpu: &Gpu, config: &EncoderConfig, bucket: u32, n_rows: u32) -> Result<Self> {
        let shape = &config.shape;
        let columns = |label: &str, n_values: u32| Columns::new(gpu, label, bucket, n_values);
        let cache_bytes = u64::from(bucket) * u64::from(shape.dim) * 4;
        Ok(Self {
            x: columns("x", shape.dim)?,
            x_next: columns("x_next", shape.dim)?,
            normed: columns("normed", shape.dim)?,
            qkv: columns("qkv", shape.qkv_dim())?,
            q: columns("q", shape.dim)?,
            attended: columns("attended", shape.dim)?,
            gate_up: columns("gate_up", 2 * shape.ffn_dim)?,
            hidden: columns("hidden", shape.ffn_dim)?,
            cache: KvBuffers { k: gpu.buffer("keys", cache_bytes)?, v: gpu.buffer("values", cache_bytes)? },
            pooled: Columns::new(gpu, "pooled", n_rows, shape.dim)?,
            dense: Columns::new(gpu, "dense", n_rows, shape.dim)?,
        })
    }
}
