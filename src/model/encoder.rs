//! The bidirectional forward pass, for every encoder: a ragged batch of texts, no padding between them, one submit and one
//! read-back. Read `Encoder::forward`.

use super::config::{EncoderConfig, NormType};
use super::layers::{Input, Linear, Loader, Norm, NormStyle};
use super::loading::Loading;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::tensor::Columns;
use crate::gpu::{Buffer, Compiler, Cost, Extent, Gpu, Line, Program, Recording};
use crate::kernels::attention::{Heads, KvBuffers, KvType, Qkv, Rope, Scores, Span, Splits, attention};
use crate::kernels::elementwise::{Pooling, Scaling, pool};
use crate::kernels::matmul::{Activation, Ids, Residual, Store, embed};
use crate::kernels::{ColumnsAre, Pass, Place, STATE_BYTES, write_state};
use std::collections::HashMap;

/// Numbers of tokens that programs are recorded for; a batch takes the smallest that holds it.
const BUCKETS: [u32; 3] = [64, 256, 1024];

/// Texts of a batch at most.
pub const MAX_TEXTS: usize = 64;

/// One transformer layer: attention, then feed-forward, each added to the stream and normed after.
#[derive(Debug)]
struct Layer {
    qkv: Linear,
    attn_output: Linear,
    attn_output_norm: Norm,
    up: Linear,
    down: Linear,
    layer_output_norm: Norm,
}

/// Where a text's scores come from.
#[derive(Debug)]
struct Head {
    pooling: Pooling,
    scaling: Scaling,
    /// BERT's pooler: a dense layer and tanh.
    dense: Option<Linear>,
    classifier: Linear,
}

/// What a program leaves per text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// One vector `(dim)`.
    Embedding(Pooling, Scaling),
    /// The head's scores `(n_labels)`.
    Logits,
}

/// Activations of one batch, `(bucket, …)` each.
struct Scratch {
    x: Columns,
    x_next: Columns,
    qkv: Columns,
    q: Columns,
    attended: Columns,
    up: Columns,
    cache: KvBuffers,
    /// Results, one column per text.
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
    positions: Linear,
    types: Option<Linear>,
    embedding_norm: Norm,
    head: Option<Head>,
    vectors: Buffer,
    /// The head's own bias, where it came from another file.
    head_vectors: Option<Buffer>,
    /// How many columns a batch has, and how many texts.
    state: Buffer,
    texts_state: Buffer,
    ids: Buffer,
    position_ids: Buffer,
    type_ids: Buffer,
    /// First and one-past-last column of each column's text, and of each text.
    spans: Buffer,
    texts: Buffer,
    runs: HashMap<(u32, Output), Run>,
}

impl Encoder {
    /// Lays `checkpoint` out on the GPU and begins to compile what its first short batch will need: the head's scores, or
    /// vectors where there is no head.
    pub async fn load<'a>(gpu: &'a Gpu, checkpoint: &'a Checkpoint) -> Result<Loading<'a, Self>> {
        let config = EncoderConfig::new(checkpoint).await?;
        let shape = config.shape.clone();
        let mut loader = Loader::new(gpu, checkpoint);
        let one = |name: &str| [format!("{name}.weight")];
        let words = Linear::load(&mut loader, &one("token_embd"), shape.vocab_size, shape.dim)?;
        let positions = Linear::load(&mut loader, &one("position_embd"), shape.context_len, shape.dim)?;
        let types = match checkpoint.tensor("token_types.weight") {
            Some(info) => Some(Linear::load(&mut loader, &one("token_types"), info.rows() as u32, shape.dim)?),
            None => None,
        };
        let embedding_norm = Norm::load(&mut loader, "token_embd_norm", shape.dim, norm_style(&config))?;
        let mut layers = Vec::with_capacity(shape.n_layers as usize);
        for i in 0..shape.n_layers {
            layers.push(Layer::load(&mut loader, &config, i)?);
        }
        let head = Head::load(&mut loader, &config)?;
        loader.check_complete()?;
        let (vectors, mut weights) = loader.finish()?;
        let most = u64::from(BUCKETS[BUCKETS.len() - 1]);
        let mut model = Self {
            layers,
            words,
            positions,
            types,
            embedding_norm,
            head,
            vectors,
            head_vectors: None,
            state: gpu.uniform("state", STATE_BYTES),
            texts_state: gpu.uniform("state of texts", STATE_BYTES),
            ids: gpu.buffer("ids", most * 4)?,
            position_ids: gpu.buffer("position ids", most * 4)?,
            type_ids: gpu.buffer("type ids", most * 4)?,
            spans: gpu.buffer("spans", most * 8)?,
            texts: gpu.buffer("texts", MAX_TEXTS as u64 * 8)?,
            runs: HashMap::new(),
            config,
        };
        let first = match &model.head {
            Some(_) => Output::Logits,
            None => Output::Embedding(model.config.pooling, Scaling::Raw),
        };
        weights.begin().await;
        let mut compiler = gpu.compiler();
        let run = model.record(&mut compiler, BUCKETS[0], first)?;
        model.runs.insert((BUCKETS[0], first), run);
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
        self.head = Some(Head { pooling: Pooling::Mean, scaling: Scaling::Unit, dense: None, classifier });
        self.config.labels = labels;
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
        self.head.as_ref().map(|head| head.classifier.weights.n_rows)
    }

    /// Tokens of a batch at most.
    pub fn batch_len(&self) -> usize {
        BUCKETS[BUCKETS.len() - 1] as usize
    }

    /// Runs `batch`, at most `MAX_TEXTS` texts of ids and `batch_len` ids in all: one vector per text.
    pub async fn run(&mut self, gpu: &Gpu, batch: &[&[u32]], output: Output) -> Result<Vec<Vec<f32>>> {
        let run = self.stage(gpu, batch, output).await?;
        gpu.submit(&run.program, None)?;
        run.output.read(gpu, batch.len()).await
    }

    /// Writes `batch` to the device and returns what will run it.
    pub(crate) async fn stage(&mut self, gpu: &Gpu, batch: &[&[u32]], output: Output) -> Result<&Run> {
        let n_tokens: usize = batch.iter().map(|ids| ids.len()).sum();
        let Some(bucket) = BUCKETS.into_iter().find(|bucket| n_tokens <= *bucket as usize) else {
            let available = self.batch_len() as u64;
            return Err(Error::Limit { what: "tokens of a batch".into(), needed: n_tokens as u64, available });
        };
        assert!((1..=MAX_TEXTS).contains(&batch.len()), "texts of a batch");
        if !self.runs.contains_key(&(bucket, output)) {
            let mut compiler = gpu.compiler();
            let run = self.record(&mut compiler, bucket, output)?;
            compiler.finish(&mut |_, _| Ok(())).await?;
            self.runs.insert((bucket, output), run);
        }
        self.write_batch(gpu, batch, n_tokens);
        let run = &self.runs[&(bucket, output)];
        // Texts are fewer than their tokens, so what works per text is held to the same number.
        run.program.set_columns(n_tokens as u32);
        Ok(run)
    }

    fn write_batch(&self, gpu: &Gpu, batch: &[&[u32]], n_tokens: usize) {
        let (mut ids, mut positions, mut spans, mut texts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for text in batch {
            let span = [ids.len() as u32, (ids.len() + text.len()) as u32];
            ids.extend_from_slice(text);
            positions.extend(0..text.len() as u32);
            spans.resize(ids.len(), span);
            texts.push(span);
        }
        gpu.write(&self.ids, 0, bytemuck::cast_slice(&ids));
        gpu.write(&self.position_ids, 0, bytemuck::cast_slice(&positions));
        gpu.write(&self.spans, 0, bytemuck::cast_slice(&spans));
        gpu.write(&self.texts, 0, bytemuck::cast_slice(&texts));
        write_state(gpu, &self.state, Place::START, n_tokens);
        write_state(gpu, &self.texts_state, Place::START, batch.len());
    }

    /// Records what batches of this size need and begins to compile it.
    fn record(&self, compiler: &mut Compiler<'_>, bucket: u32, output: Output) -> Result<Run> {
        let gpu = compiler.gpu();
        let scratch = Scratch::new(gpu, &self.config, bucket, self.head.as_ref())?;
        let mut rec = gpu.recording();
        let mut pass =
            Pass { rec: &mut rec, state: &self.state, columns: ColumnsAre::Sequence, vectors: &self.vectors };
        self.forward(&mut pass, &scratch);
        let n_per_token = rec.len();
        let results = self.finish(gpu, &mut rec, &scratch, output)?;
        let program = compiler.program(&rec)?;
        Ok(Run { program, output: results, n_per_token })
    }

    /// Ids, positions and spans of the batch → the residual stream after the last layer, in `s.x`.
    fn forward(&self, pass: &mut Pass<'_>, s: &Scratch) {
        let heads = self.heads(s.x.n_columns);
        embed(pass, &self.words.weights, 1.0, Ids::ByColumn(&self.ids), &s.x_next, Store::Set);
        embed(pass, &self.positions.weights, 1.0, Ids::ByColumn(&self.position_ids), &s.x_next, Store::Add);
        if let Some(types) = &self.types {
            embed(pass, &types.weights, 1.0, Ids::ByColumn(&self.type_ids), &s.x_next, Store::Add);
        }
        self.embedding_norm.record(pass, &s.x_next, None, &s.x);
        let no_angles = &self.ids;
        let qkv = Qkv { heads: &heads, rope: Rope::None, norm: None, angles: no_angles, q: &s.q, cache: &s.cache };
        let scores = Scores::plain(&heads, Span::Segment(&self.spans));
        for layer in &self.layers {
            layer.qkv.record_qkv(pass, Input::new(&s.x), qkv, &s.qkv);
            attention(pass, &heads, &scores, &s.q, &s.cache, &Splits::NONE, &s.attended);
            layer.attn_output.record(
                pass,
                Input::new(&s.attended),
                &s.x_next,
                Activation::Identity,
                Some(Residual::new(&s.x)),
            );
            layer.attn_output_norm.record(pass, &s.x_next, None, &s.x);
            layer.up.record(pass, Input::new(&s.x), &s.up, self.config.activation, None);
            layer.down.record(pass, Input::new(&s.up), &s.x_next, Activation::Identity, Some(Residual::new(&s.x)));
            layer.layer_output_norm.record(pass, &s.x_next, None, &s.x);
        }
    }

    /// The residual stream → one column per text.
    fn finish(&self, gpu: &Gpu, rec: &mut Recording, s: &Scratch, output: Output) -> Result<Columns> {
        let vectors = self.head_vectors.as_ref().unwrap_or(&self.vectors);
        let mut pass = Pass { rec, state: &self.texts_state, columns: ColumnsAre::Sequence, vectors };
        match (output, &self.head) {
            (Output::Embedding(pooling, scaling), _) => {
                pool(&mut pass, pooling, scaling, &self.texts, &s.x, &s.pooled);
                Ok(s.pooled.clone())
            }
            (Output::Logits, None) => Err(Error::unsupported("classifying with a model that has no head")),
            (Output::Logits, Some(head)) => {
                pool(&mut pass, head.pooling, head.scaling, &self.texts, &s.x, &s.pooled);
                let pooled = if let Some(dense) = &head.dense {
                    dense.record(&mut pass, Input::new(&s.pooled), &s.dense, Activation::Tanh, None);
                    &s.dense
                } else {
                    &s.pooled
                };
                let n_labels = head.classifier.weights.n_rows;
                let logits = Columns::new(gpu, "scores of a head", MAX_TEXTS as u32, n_labels)?;
                head.classifier.record(&mut pass, Input::new(pooled), &logits, Activation::Identity, None);
                Ok(logits)
            }
        }
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

/// What its norms are.
fn norm_style(config: &EncoderConfig) -> NormStyle {
    NormStyle { kind: NormType::Layer, eps: config.shape.norm_eps, line: Line::AS_FILED }
}

impl Layer {
    fn load(loader: &mut Loader<'_>, config: &EncoderConfig, i: u32) -> Result<Self> {
        let names =
            |parts: &[&str]| -> Vec<String> { parts.iter().map(|part| format!("blk.{i}.{part}.weight")).collect() };
        let (dim, ffn_dim, style) = (config.shape.dim, config.shape.ffn_dim, norm_style(config));
        Ok(Self {
            qkv: Linear::load(loader, &names(&["attn_q", "attn_k", "attn_v"]), 3 * dim, dim)?,
            attn_output: Linear::load(loader, &names(&["attn_output"]), dim, dim)?,
            attn_output_norm: Norm::load(loader, &format!("blk.{i}.attn_output_norm"), dim, style)?,
            up: Linear::load(loader, &names(&["ffn_up"]), ffn_dim, dim)?,
            down: Linear::load(loader, &names(&["ffn_down"]), dim, ffn_dim)?,
            layer_output_norm: Norm::load(loader, &format!("blk.{i}.layer_output_norm"), dim, style)?,
        })
    }
}

impl Head {
    /// BERT's sequence-classification head, where the checkpoint has one.
    fn load(loader: &mut Loader<'_>, config: &EncoderConfig) -> Result<Option<Self>> {
        let dim = config.shape.dim;
        let Some(info) = loader.checkpoint.tensor("cls.output.weight") else { return Ok(None) };
        let n_labels = info.rows() as u32;
        let dense = if loader.checkpoint.tensor("cls.weight").is_some() {
            Some(Linear::load(loader, &["cls.weight".to_owned()], dim, dim)?)
        } else {
            None
        };
        let classifier = Linear::load(loader, &["cls.output.weight".to_owned()], n_labels, dim)?;
        Ok(Some(Self { pooling: Pooling::Cls, scaling: Scaling::Raw, dense, classifier }))
    }
}

impl Scratch {
    fn new(gpu: &Gpu, config: &EncoderConfig, bucket: u32, head: Option<&Head>) -> Result<Self> {
        let shape = &config.shape;
        let columns = |label: &str, n_values: u32| Columns::new(gpu, label, bucket, n_values);
        let cache_bytes = u64::from(bucket) * u64::from(shape.dim) * 4;
        let n_texts = MAX_TEXTS as u32;
        let has_dense = head.is_some_and(|head| head.dense.is_some());
        Ok(Self {
            x: columns("x", shape.dim)?,
            x_next: columns("x_next", shape.dim)?,
            qkv: columns("qkv", 3 * shape.dim)?,
            q: columns("q", shape.dim)?,
            attended: columns("attended", shape.dim)?,
            up: columns("up", shape.ffn_dim)?,
            cache: KvBuffers { k: gpu.buffer("keys", cache_bytes)?, v: gpu.buffer("values", cache_bytes)? },
            pooled: Columns::new(gpu, "pooled", n_texts, shape.dim)?,
            dense: Columns::new(gpu, "dense", if has_dense { n_texts } else { 1 }, shape.dim)?,
        })
    }
}
