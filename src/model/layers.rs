//! The parts models are made of, each loaded by name from a checkpoint and recorded into a pass: linear layers and norms.

use super::config::{NormType, Shape};
use crate::error::{Error, Result};
use crate::format::planes::{RowOrder, STEP};
use crate::format::{Checkpoint, TensorInfo, is_in_layer};
use crate::gpu::tensor::{Columns, Matrix, expect};
use crate::gpu::{Buffer, Gpu, Line, Uploads};
use crate::kernels::attention::{HeadNorm, Qkv, Rope, kv_store, rope_append};
use crate::kernels::elementwise::{NormKind, NormWeights, gate, norm};
use crate::kernels::matmul::{Activation, Output, Product, Residual, RmsPrologue, Wanted, multiply};
use crate::kernels::{Pass, VectorOffset};
use std::collections::HashSet;

/// Vectors begin at multiples of this many floats and are padded with zeros to it: a step of activations.
const VECTOR_STEP: usize = STEP;

/// Columns up to which a norm is part of the product after it.
const FEW_COLUMNS: u32 = 8;

/// Lays the weights of a checkpoint out on the GPU; collects norms and biases for the one buffer they share. What it has laid
/// out is read afterwards.
pub struct Loader<'a> {
    gpu: &'a Gpu,
    /// Where the weights are.
    pub checkpoint: &'a Checkpoint,
    uploads: Uploads<'a>,
    /// Norms and biases, each with what becomes of its values and its first float in the shared buffer, `n_floats` long.
    vectors: Vec<(&'a TensorInfo, Line, usize)>,
    n_floats: usize,
    laid_out: HashSet<String>,
    /// What the products of all adapters take their turns in.
    low: Option<Buffer>,
    /// LayerNorms have biases: all, or none.
    norms_have_biases: bool,
}

/// Columns of a step at most: those of an encoder's largest batch.
const MOST_COLUMNS: u32 = 1024;

impl<'a> Loader<'a> {
    /// A loader with nothing laid out.
    pub fn new(gpu: &'a Gpu, checkpoint: &'a Checkpoint) -> Self {
        let (uploads, vectors, laid_out) = (Uploads::default(), Vec::new(), HashSet::new());
        let norms_have_biases = checkpoint.tensors().any(|info| info.name.ends_with("norm.bias"));
        Self { gpu, checkpoint, uploads, vectors, n_floats: 0, laid_out, low: None, norms_have_biases }
    }

    /// A matrix of tensors stacked by rows, which stand in `order`; `n_rows` rows in all are wanted.
    pub fn matrix(&mut self, names: &[String], n_rows: u32, n_cols: u32, order: RowOrder) -> Result<Matrix> {
        let mut found = 0;
        for name in names {
            found += expect(self.checkpoint, name)?.rows();
            self.laid_out.insert(name.clone());
        }
        if found != u64::from(n_rows) {
            let reason = format!("{} has {found} rows, {n_rows} were wanted", names.join(" + "));
            return Err(Error::format(self.checkpoint.name(), reason));
        }
        Matrix::lay_out(self.gpu, self.checkpoint, names, n_cols, order, &mut self.uploads)
    }

    /// What the checkpoint's adapters add to tensors stacked by rows, `n_rows` in all.
    fn adapters(&mut self, names: &[String], n_rows: u32, n_cols: u32) -> Result<Vec<Adapter>> {
        let mut adapters = Vec::new();
        let mut first_row: u32 = 0;
        for name in names {
            let rows = expect(self.checkpoint, name)?.rows() as u32;
            for adapted in self.checkpoint.adapted(name) {
                let rank = expect(self.checkpoint, &adapted.a)?.rows() as u32;
                // Products write whole quads of rows.
                if !first_row.is_multiple_of(4) || first_row + rows < n_rows && !rows.is_multiple_of(4) {
                    let what = format!("{rows} rows from row {first_row}: multiples of 4 were wanted");
                    return Err(Error::unsupported(format!("an adapter of {name}, {what}")));
                }
                let a = self.matrix(std::slice::from_ref(&adapted.a), rank, n_cols, RowOrder::AsFiled)?;
                let b = self.matrix(std::slice::from_ref(&adapted.b), rows, rank, RowOrder::AsFiled)?;
                let (b, low) = (b.placed(first_row, n_rows), self.low_buffer()?);
                adapters.push(Adapter { a, b, scale: adapted.scale, low });
            }
            first_row += rows;
        }
        Ok(adapters)
    }

    fn low_buffer(&mut self) -> Result<Buffer> {
        if let Some(low) = &self.low {
            return Ok(low.clone());
        }
        let ranks = self.checkpoint.tensors().filter(|info| info.name.contains(".lora_a."));
        let most = ranks.map(TensorInfo::rows).max().unwrap_or(0).next_multiple_of(STEP as u64);
        let low = self.gpu.buffer("what adapters take their turns in", u64::from(MOST_COLUMNS) * most * 4)?;
        Ok(self.low.insert(low).clone())
    }

    /// Whether the checkpoint has a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.tensor(name).is_some()
    }

    /// A vector of `len` finite values, each of which `line` makes of one of the file's.
    pub fn vector(&mut self, name: &str, len: u32, line: Line) -> Result<VectorOffset> {
        let at = self.n_floats;
        self.place(name, len, line)?;
        Ok(self.close(at))
    }

    /// A vector of `len` zeros.
    fn zeros(&mut self, len: u32) -> VectorOffset {
        let at = self.n_floats;
        self.n_floats += len as usize;
        self.close(at)
    }

    /// Puts a tensor of `len` values behind what the shared buffer holds.
    fn place(&mut self, name: &str, len: u32, line: Line) -> Result<()> {
        let info = expect(self.checkpoint, name)?;
        self.laid_out.insert(name.to_owned());
        if info.shape.iter().product::<u64>() != u64::from(len) {
            let reason = format!("tensor {name} has shape {:?}, ({len}) was wanted", info.shape);
            return Err(Error::format(self.checkpoint.name(), reason));
        }
        self.vectors.push((info, line, self.n_floats));
        self.n_floats += len as usize;
        Ok(())
    }

    /// Ends a vector that began at float `at`: the next one begins at a whole step.
    fn close(&mut self, at: usize) -> VectorOffset {
        self.n_floats = self.n_floats.next_multiple_of(VECTOR_STEP);
        (at / 4) as VectorOffset
    }

    /// The biases of stacked tensors (`names` end in `.weight`), zeros for those without; none where none has one.
    fn biases(&mut self, names: &[String]) -> Result<Option<VectorOffset>> {
        let bias_of = |name: &String| name.replace(".weight", ".bias");
        if !names.iter().any(|name| self.checkpoint.tensor(&bias_of(name)).is_some()) {
            return Ok(None);
        }
        let at = self.n_floats;
        for name in names {
            let rows = expect(self.checkpoint, name)?.rows() as u32;
            let bias = bias_of(name);
            if self.checkpoint.tensor(&bias).is_some() {
                self.place(&bias, rows, Line::AS_FILED)?;
            } else {
                self.n_floats += rows as usize;
            }
        }
        Ok(Some(self.close(at)))
    }

    /// Refuses a model with tensors in its layers that were not laid out: more layers than it says, or parts that this
    /// forward pass lacks. Without them it would write garbage.
    pub fn check_complete(&self) -> Result<()> {
        let is_part = |name: &str| name.starts_with("blk.") || is_in_layer(name) || name.contains(".lora_");
        match self.checkpoint.tensors().find(|info| is_part(&info.name) && !self.laid_out.contains(&info.name)) {
            Some(info) => {
                let (file, name) = (self.checkpoint.name(), &info.name);
                Err(Error::unsupported(format!("tensor {name} of {file}: nothing in this architecture uses it")))
            }
            None => Ok(()),
        }
    }

    /// The buffer that all vectors share, and what is still to be read.
    pub fn finish(mut self) -> Result<(Buffer, Weights<'a>)> {
        let buffer = self.gpu.buffer("norms and biases", self.n_floats as u64 * 4)?;
        for (info, line, at) in self.vectors {
            self.uploads.add_vector(info, line, &buffer, at as u64 * 4);
        }
        Ok((buffer, Weights { gpu: self.gpu, checkpoint: self.checkpoint, uploads: self.uploads }))
    }
}

/// Weights that are laid out and still to be read.
pub struct Weights<'a> {
    gpu: &'a Gpu,
    checkpoint: &'a Checkpoint,
    uploads: Uploads<'a>,
}

impl Weights<'_> {
    /// Asks for the first of them, so that they are on their way while something else is begun.
    pub async fn begin(&mut self) {
        self.uploads.begin(self.checkpoint).await;
    }

    /// Streams them to the GPU; `on_bytes` hears of the file bytes of every piece, and its error ends it.
    pub async fn read(self, on_bytes: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        self.uploads.run(self.gpu, self.checkpoint, on_bytes).await
    }
}

/// Weights `(n_rows, n_cols)` and perhaps a bias, as they are or with what adapters add.
#[derive(Debug)]
pub struct Linear {
    /// The weights.
    pub weights: Matrix,
    /// One value per row.
    pub bias: Option<VectorOffset>,
    adapters: Vec<Adapter>,
}

/// What an adapter adds to a product: scale·B·(A·x), in some of its rows.
#[derive(Debug)]
struct Adapter {
    /// `(rank, n_cols)`.
    a: Matrix,
    /// `(rows, rank)`.
    b: Matrix,
    scale: f32,
    /// Takes A·x.
    low: Buffer,
}

impl Linear {
    /// Tensors `names` stacked by rows, with their biases.
    pub fn load(loader: &mut Loader<'_>, names: &[String], n_rows: u32, n_cols: u32) -> Result<Self> {
        Self::load_ordered(loader, names, (n_rows, n_cols), RowOrder::AsFiled)
    }

    /// A tensor whose rows are looked up by id, or the last product of a decoder: adapters of these do not run, and
    /// `check_complete` refuses them.
    pub fn load_table(loader: &mut Loader<'_>, name: &str, n_rows: u32, n_cols: u32) -> Result<Self> {
        let names = [name.to_owned()];
        let weights = loader.matrix(&names, n_rows, n_cols, RowOrder::AsFiled)?;
        Ok(Self { weights, bias: loader.biases(&names)?, adapters: Vec::new() })
    }

    /// q, k and v, `n_rows` in all, of heads of `head_dim`, for `record_qkv` with `rope`.
    pub fn load_qkv(
        loader: &mut Loader<'_>,
        names: &[String],
        shape: (u32, u32),
        rope: Rope,
        head_dim: u32,
    ) -> Result<Self> {
        Self::load_ordered(loader, names, shape, rope.row_order(head_dim))
    }

    /// Gates, then as many ups, `n_rows` in all, for `record_gated`.
    pub fn load_gated(loader: &mut Loader<'_>, names: &[String], shape: (u32, u32)) -> Result<Self> {
        Self::load_ordered(loader, names, shape, RowOrder::Halves { block: shape.0.into() })
    }

    fn load_ordered(
        loader: &mut Loader<'_>,
        names: &[String],
        (n_rows, n_cols): (u32, u32),
        order: RowOrder,
    ) -> Result<Self> {
        let adapters = loader.adapters(names, n_rows, n_cols)?;
        // What an adapter adds comes before rotations and gates: they are then kernels of their own.
        let order = if adapters.is_empty() { order } else { RowOrder::AsFiled };
        let weights = loader.matrix(names, n_rows, n_cols, order)?;
        Ok(Self { weights, bias: loader.biases(names)?, adapters })
    }

    /// `weights` once more, as they lie, with a bias of its own where the checkpoint has it: a head that is the embedding.
    pub fn tied(loader: &mut Loader<'_>, weights: &Matrix, bias: &str) -> Result<Self> {
        let n_rows = weights.n_rows;
        let bias = loader.has(bias).then(|| loader.vector(bias, n_rows, Line::AS_FILED)).transpose()?;
        Ok(Self { weights: weights.clone(), bias, adapters: Vec::new() })
    }

    /// y = activate(W·x + bias) + residual.
    pub fn record(
        &self,
        pass: &mut Pass<'_>,
        x: Input<'_>,
        y: &Columns,
        activation: Activation,
        residual: Option<Residual<'_>>,
    ) {
        let Some((last, others)) = self.adapters.split_last() else {
            return multiply(pass, &self.product(x, Output::Plain { y, activation, residual }));
        };
        multiply(pass, &self.product(x, Output::Plain { y, activation: Activation::Identity, residual }));
        let factor = residual.map_or(1.0, |residual| residual.factor());
        others.iter().for_each(|adapter| adapter.record(pass, x, y, factor, Activation::Identity));
        last.record(pass, x, y, factor, activation);
    }

    /// q, k and v of x, normed, rotated and put where attention finds them. `unrotated` takes them in between where they are
    /// normed, or where the tensors are split inside a head.
    pub fn record_qkv(&self, pass: &mut Pass<'_>, x: Input<'_>, qkv: Qkv<'_>, unrotated: &Columns) {
        let head_dim = qkv.heads.head_dim;
        let is_fused = qkv.norm.is_none() && self.adapters.is_empty();
        if is_fused && self.weights.has_heads(head_dim, qkv.rope.row_order(head_dim)) {
            multiply(pass, &self.product(x, Output::Qkv(qkv)));
        } else {
            self.record(pass, x, unrotated, Activation::Identity, None);
            rope_append(pass, &qkv, unrotated);
        }
        kv_store(pass, &qkv);
    }

    /// gated = activate(gate)·up. `gate_up` takes both in between where they are of two types or an odd number.
    pub fn record_gated(
        &self,
        pass: &mut Pass<'_>,
        x: Input<'_>,
        activation: Activation,
        gate_up: &Columns,
        gated: &Columns,
    ) {
        if self.weights.has_gates_and_ups() {
            multiply(pass, &self.product(x, Output::Gated { y: gated, activation }));
        } else {
            self.record(pass, x, gate_up, Activation::Identity, None);
            gate(pass, activation, gate_up, gated);
        }
    }

    fn product<'a>(&'a self, x: Input<'a>, output: Output<'a>) -> Product<'a> {
        Product { weights: &self.weights, x: x.columns, wanted: x.wanted, norm: x.norm, bias: self.bias, output }
    }
}

impl Adapter {
    /// y = activate(y + factor·scale·B·(A·x)), in the rows of B.
    fn record(&self, pass: &mut Pass<'_>, x: Input<'_>, y: &Columns, factor: f32, activation: Activation) {
        let low = Columns { buffer: self.low.clone(), n_columns: x.columns.n_columns, n_values: self.a.n_rows };
        assert!(low.n_columns <= MOST_COLUMNS, "columns of a step");
        let output = Output::Plain { y: &low, activation: Activation::Identity, residual: None };
        let Input { columns, wanted, norm } = x;
        multiply(pass, &Product { weights: &self.a, x: columns, wanted, norm, bias: None, output });
        let residual = Some(Residual::Own { factor: factor * self.scale });
        let output = Output::Plain { y, activation, residual };
        multiply(pass, &Product { weights: &self.b, x: &low, wanted: Wanted::All, norm: None, bias: None, output });
    }
}

/// Columns of a step on their way into a product, perhaps still to be normed.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    columns: &'a Columns,
    wanted: Wanted,
    norm: Option<RmsPrologue>,
}

impl<'a> Input<'a> {
    /// All columns as they are.
    pub fn new(columns: &'a Columns) -> Self {
        Self { columns, wanted: Wanted::All, norm: None }
    }

    /// All columns, normed: by the product itself where it can and there are few, in `normed` before it where many tiles would
    /// each norm them again.
    pub fn normed(pass: &mut Pass<'_>, norm: &Norm, columns: &'a Columns, normed: &'a Columns) -> Self {
        if columns.n_columns <= FEW_COLUMNS && norm.is_rms() {
            return Self { columns, wanted: Wanted::All, norm: Some(norm.prologue()) };
        }
        norm.record(pass, columns, None, normed);
        Self::new(normed)
    }

    /// All columns, normed where there is a norm.
    pub fn perhaps_normed(pass: &mut Pass<'_>, norm: Option<&Norm>, columns: &'a Columns, normed: &'a Columns) -> Self {
        match norm {
            Some(norm) => Self::normed(pass, norm, columns, normed),
            None => Self::new(columns),
        }
    }

    /// The last column alone, normed by the product where it can, in `normed` before it where it cannot.
    pub fn last(pass: &mut Pass<'_>, norm: &Norm, columns: &'a Columns, normed: &'a Columns) -> Self {
        if norm.is_rms() {
            return Self { columns, wanted: Wanted::Last, norm: Some(norm.prologue()) };
        }
        norm.record(pass, columns, None, normed);
        Self { wanted: Wanted::Last, ..Self::new(normed) }
    }
}

/// The products of a layer's feed-forward half.
#[derive(Debug)]
pub enum FeedForward {
    /// down·(activate(gate·x)·(up·x)), arXiv 2002.05202.
    Gated {
        /// Gates, then ups.
        gate_up: Linear,
        /// Back to the width of the stream.
        down: Linear,
    },
    /// down·activate(up·x).
    Plain {
        /// To the width of the feed-forward layer.
        up: Linear,
        /// Back to the width of the stream.
        down: Linear,
    },
}

impl FeedForward {
    /// `blk.{i}.ffn_gate`, `.ffn_up` and `.ffn_down`: gated where there is a gate, or where what is called up has rows for both.
    pub fn load(loader: &mut Loader<'_>, i: u32, shape: &Shape) -> Result<Self> {
        let (dim, ffn_dim) = (shape.dim, shape.ffn_dim);
        let [gate, up, down] = ["ffn_gate", "ffn_up", "ffn_down"].map(|part| format!("blk.{i}.{part}.weight"));
        let has_both = loader.checkpoint.tensor(&up).is_some_and(|info| info.rows() == 2 * u64::from(ffn_dim));
        let gate_up = match (loader.has(&gate), has_both) {
            (true, _) => Some(vec![gate, up.clone()]),
            (false, true) => Some(vec![up.clone()]),
            (false, false) => None,
        };
        let down = Linear::load(loader, &[down], dim, ffn_dim)?;
        Ok(match gate_up {
            Some(names) => Self::Gated { gate_up: Linear::load_gated(loader, &names, (2 * ffn_dim, dim))?, down },
            None => Self::Plain { up: Linear::load(loader, &[up], ffn_dim, dim)?, down },
        })
    }

    /// All but the last product, which is returned; `gate_up` as in `Linear::record_gated`, `hidden` takes the values.
    pub fn record(
        &self,
        pass: &mut Pass<'_>,
        x: Input<'_>,
        activation: Activation,
        gate_up: &Columns,
        hidden: &Columns,
    ) -> &Linear {
        match self {
            Self::Gated { gate_up: both, down } => {
                both.record_gated(pass, x, activation, gate_up, hidden);
                down
            }
            Self::Plain { up, down } => {
                up.record(pass, x, hidden, activation, None);
                down
            }
        }
    }
}

/// The tensors of q, k and v in layer `i`: one, or three.
pub fn qkv_names(loader: &Loader<'_>, i: u32) -> Vec<String> {
    let name = |part: &str| format!("blk.{i}.{part}.weight");
    if loader.has(&name("attn_qkv")) { vec![name("attn_qkv")] } else { ["attn_q", "attn_k", "attn_v"].map(name).into() }
}

/// What all norms of a model are, or one of them.
#[derive(Clone, Copy, Debug)]
pub struct NormStyle {
    /// RMSNorm or LayerNorm.
    pub kind: NormType,
    /// Added to the mean square or the variance.
    pub eps: f32,
    /// What becomes of the weights as they are stored.
    pub line: Line,
}

/// A norm's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Norm(NormWeights);

impl Norm {
    /// `{scope}.weight` and, of a LayerNorm that has one, `{scope}.bias`: a norm of `len` values.
    pub fn load(loader: &mut Loader<'_>, scope: &str, len: u32, style: NormStyle) -> Result<Self> {
        let weight = loader.vector(&format!("{scope}.weight"), len, style.line)?;
        let bias = format!("{scope}.bias");
        let kind = match style.kind {
            NormType::Rms => NormKind::Rms,
            NormType::Layer if loader.norms_have_biases => {
                let line = Line { offset: 0.0, ..style.line };
                NormKind::Layer { bias: loader.vector(&bias, len, line)? }
            }
            NormType::Layer => NormKind::Layer { bias: loader.zeros(len) },
        };
        Ok(Self(NormWeights { kind, weight, eps: style.eps }))
    }

    /// The same, where the checkpoint has it.
    pub fn find(loader: &mut Loader<'_>, scope: &str, len: u32, style: NormStyle) -> Result<Option<Self>> {
        let has_one = loader.has(&format!("{scope}.weight"));
        has_one.then(|| Self::load(loader, scope, len, style)).transpose()
    }

    /// y = norm(x) + residual for all columns of the step.
    pub fn record(&self, pass: &mut Pass<'_>, x: &Columns, residual: Option<&Columns>, y: &Columns) {
        norm(pass, self.0, x, residual, y);
    }

    fn is_rms(&self) -> bool {
        self.0.kind == NormKind::Rms
    }

    fn prologue(&self) -> RmsPrologue {
        RmsPrologue { weight: self.0.weight, eps: self.0.eps }
    }
}

/// The norms of q and of k in a layer, `{layer}.attn_q_norm` and `{layer}.attn_k_norm`, where the checkpoint has them: one weight
/// for all heads, one for each head (as a matrix or as a tensor of each), or one over all heads' values.
pub fn find_head_norm(
    loader: &mut Loader<'_>,
    layer: &str,
    shape: &Shape,
    style: NormStyle,
) -> Result<Option<HeadNorm>> {
    let (q_name, k_name) = (format!("{layer}.attn_q_norm"), format!("{layer}.attn_k_norm"));
    let head_dim = shape.head_dim;
    let is_layer = style.kind == NormType::Layer;
    let norm = |q, k, stride| HeadNorm { is_layer, over_all: false, q, k, stride, eps: style.eps };
    if loader.has(&format!("{q_name}.0.weight")) {
        let q = head_weights(loader, &q_name, shape.n_heads, head_dim, style.line)?;
        let k = head_weights(loader, &k_name, shape.n_kv_heads, head_dim, style.line)?;
        return Ok(Some(norm(q, k, head_dim / 4)));
    }
    let Some(info) = loader.checkpoint.tensor(&format!("{q_name}.weight")) else { return Ok(None) };
    let (is_matrix, n_values) = (info.shape.len() == 2, info.shape.iter().product::<u64>());
    let is_shared = n_values == u64::from(head_dim);
    let len = |n_heads: u32| if is_shared { head_dim } else { n_heads * head_dim };
    let q = loader.vector(&format!("{q_name}.weight"), len(shape.n_heads), style.line)?;
    let k = loader.vector(&format!("{k_name}.weight"), len(shape.n_kv_heads), style.line)?;
    let stride = if is_shared { 0 } else { head_dim / 4 };
    Ok(Some(HeadNorm { over_all: !is_shared && !is_matrix, ..norm(q, k, stride) }))
}

/// `{scope}.{head}.weight` of all heads, one after the other.
fn head_weights(loader: &mut Loader<'_>, scope: &str, n_heads: u32, head_dim: u32, line: Line) -> Result<VectorOffset> {
    let at = loader.n_floats;
    for head in 0..n_heads {
        loader.place(&format!("{scope}.{head}.weight"), head_dim, line)?;
    }
    Ok(loader.close(at))
}
