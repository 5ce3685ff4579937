//! The parts models are made of, each loaded by name from a checkpoint and recorded into a pass: linear layers and norms.

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::tensor::{Columns, Matrix, expect};
use crate::gpu::{Buffer, Gpu};
use crate::kernels::attention::{Qkv, rope_append};
use crate::kernels::elementwise::{NormWeights, gate, norm};
use crate::kernels::matmul::{Activation, Output, Product, RmsPrologue, Wanted, multiply};
use crate::kernels::{Pass, VectorOffset};
use std::collections::HashSet;

/// Vectors begin at multiples of this many floats and are padded with zeros to it: a granule of activations.
const VECTOR_STEP: usize = 32;

/// Columns up to which a norm is part of the product after it.
const FEW_COLUMNS: u32 = 8;

/// Brings weights from a checkpoint to the GPU; collects norms and biases for the one buffer they share.
pub struct Loader<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Where the weights are.
    pub checkpoint: &'a Checkpoint,
    /// Hears of the file bytes of every piece loaded; its error stops the loading.
    pub on_bytes: &'a mut dyn FnMut(u64) -> Result<()>,
    vectors: Vec<f32>,
    loaded: HashSet<String>,
}

/// What the names of a layer's tensors begin with: GGUF's, then Hugging Face's that have no translation.
const IN_LAYERS: [&str; 3] = ["blk.", "model.layers.", "encoder.layer."];

impl<'a> Loader<'a> {
    /// A loader with nothing loaded.
    pub fn new(gpu: &'a Gpu, checkpoint: &'a Checkpoint, on_bytes: &'a mut dyn FnMut(u64) -> Result<()>) -> Self {
        Self { gpu, checkpoint, on_bytes, vectors: Vec::new(), loaded: HashSet::new() }
    }

    /// A matrix of tensors stacked by rows; `n_rows` rows in all are wanted.
    pub async fn matrix(&mut self, names: &[String], n_rows: u32, n_cols: u32) -> Result<Matrix> {
        let mut found = 0;
        for name in names {
            found += expect(self.checkpoint, name)?.rows();
            self.loaded.insert(name.clone());
        }
        if found != u64::from(n_rows) {
            let reason = format!("{} has {found} rows, {n_rows} were wanted", names.join(" + "));
            return Err(Error::format(self.checkpoint.name(), reason));
        }
        Matrix::load(self.gpu, self.checkpoint, names, n_cols, self.on_bytes).await
    }

    /// A vector of `len` finite values.
    pub async fn vector(&mut self, name: &str, len: u32) -> Result<VectorOffset> {
        let info = expect(self.checkpoint, name)?;
        self.loaded.insert(name.to_owned());
        let n_bytes = info.n_bytes;
        if info.shape.iter().product::<u64>() != u64::from(len) {
            let reason = format!("tensor {name} has shape {:?}, ({len}) was wanted", info.shape);
            return Err(Error::format(self.checkpoint.name(), reason));
        }
        let values = self.checkpoint.read_f32(name).await?;
        (self.on_bytes)(n_bytes)?;
        Ok(self.append(values))
    }

    fn append(&mut self, values: Vec<f32>) -> VectorOffset {
        let at = self.vectors.len();
        self.vectors.extend(values);
        self.vectors.resize(self.vectors.len().next_multiple_of(VECTOR_STEP), 0.0);
        (at / 4) as VectorOffset
    }

    /// The biases of stacked tensors (`names` end in `.weight`), zeros for those without; none where none has one.
    async fn biases(&mut self, names: &[String]) -> Result<Option<VectorOffset>> {
        let bias_of = |name: &String| name.replace(".weight", ".bias");
        if !names.iter().any(|name| self.checkpoint.tensor(&bias_of(name)).is_some()) {
            return Ok(None);
        }
        let mut stacked = Vec::new();
        for name in names {
            let rows = expect(self.checkpoint, name)?.rows() as usize;
            let bias = bias_of(name);
            if self.checkpoint.tensor(&bias).is_some() {
                let at = self.vector(&bias, rows as u32).await? as usize * 4;
                stacked.extend_from_slice(&self.vectors[at..at + rows]);
                self.vectors.truncate(at);
            } else {
                stacked.resize(stacked.len() + rows, 0.0);
            }
        }
        Ok(Some(self.append(stacked)))
    }

    /// Refuses a model with tensors in its layers that were not loaded: more layers than it says, or parts that this
    /// forward pass lacks. Without them it would write garbage.
    pub fn check_complete(&self) -> Result<()> {
        let in_layers = |name: &str| IN_LAYERS.iter().any(|prefix| name.starts_with(prefix));
        match self.checkpoint.tensors().find(|info| in_layers(&info.name) && !self.loaded.contains(&info.name)) {
            Some(info) => {
                let (file, name) = (self.checkpoint.name(), &info.name);
                Err(Error::unsupported(format!("tensor {name} of {file}: nothing in this architecture uses it")))
            }
            None => Ok(()),
        }
    }

    /// The buffer that all vectors share.
    pub fn finish(self) -> Result<Buffer> {
        let buffer = self.gpu.buffer("norms and biases", self.vectors.len() as u64 * 4)?;
        self.gpu.write(&buffer, 0, bytemuck::cast_slice(&self.vectors));
        Ok(buffer)
    }
}

/// How many weights some layers hold, and their bytes on the GPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightCount {
    /// Weights.
    pub n_weights: u64,
    /// Bytes.
    pub n_bytes: u64,
}

impl WeightCount {
    /// The sum over `layers`.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Linear>) -> Self {
        layers.into_iter().fold(Self::default(), |sum, layer| Self {
            n_weights: sum.n_weights + u64::from(layer.weights.n_rows) * u64::from(layer.weights.n_cols),
            n_bytes: sum.n_bytes + layer.weights.n_bytes(),
        })
    }
}

/// Weights `(n_rows, n_cols)` and perhaps a bias.
#[derive(Debug)]
pub struct Linear {
    /// The weights.
    pub weights: Matrix,
    /// One value per row.
    pub bias: Option<VectorOffset>,
}

impl Linear {
    /// Loads tensors `names` stacked by rows, with their biases.
    pub async fn load(loader: &mut Loader<'_>, names: &[String], n_rows: u32, n_cols: u32) -> Result<Self> {
        let weights = loader.matrix(names, n_rows, n_cols).await?;
        Ok(Self { weights, bias: loader.biases(names).await? })
    }

    /// y = activate(W·x + bias) + residual.
    pub fn record(
        &self,
        pass: &mut Pass<'_>,
        x: Input<'_>,
        y: &Columns,
        activation: Activation,
        residual: Option<&Columns>,
    ) {
        multiply(pass, &self.product(x, Output::Plain { y, activation, residual }));
    }

    /// q, k and v of x, rotated and put where attention finds them. `unrotated` takes them in between where the tensors
    /// are split inside a head.
    pub fn record_qkv(&self, pass: &mut Pass<'_>, x: Input<'_>, qkv: Qkv<'_>, unrotated: &Columns) {
        if self.weights.has_whole(qkv.heads.head_dim) {
            multiply(pass, &self.product(x, Output::Qkv(qkv)));
        } else {
            self.record(pass, x, unrotated, Activation::Identity, None);
            rope_append(pass, &qkv, unrotated);
        }
    }

    /// gated = activate(gate)·up, where W's rows are all gates, then all ups. `gate_up` takes both in between where they
    /// lie in several parts.
    pub fn record_gated(
        &self,
        pass: &mut Pass<'_>,
        x: Input<'_>,
        activation: Activation,
        gate_up: &Columns,
        gated: &Columns,
    ) {
        if self.weights.n_parts() == 1 {
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

    /// All columns, normed: by the product itself where there are few, in `normed` before it where many tiles would each
    /// norm them again.
    pub fn normed(pass: &mut Pass<'_>, norm: &Norm, columns: &'a Columns, normed: &'a Columns) -> Self {
        if columns.n_columns <= FEW_COLUMNS {
            return Self { columns, wanted: Wanted::All, norm: Some(norm.prologue()) };
        }
        norm.record(pass, columns, normed);
        Self::new(normed)
    }

    /// The last column alone, normed by the product.
    pub fn last(norm: &Norm, columns: &'a Columns) -> Self {
        Self { columns, wanted: Wanted::Last, norm: Some(norm.prologue()) }
    }
}

/// A norm's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Norm(NormWeights);

impl Norm {
    /// Loads `{scope}.weight`: an RMSNorm of `len` values.
    pub async fn load_rms(loader: &mut Loader<'_>, scope: &str, len: u32, eps: f32) -> Result<Self> {
        let weight = loader.vector(&format!("{scope}.weight"), len).await?;
        Ok(Self(NormWeights { weight, bias: None, eps }))
    }

    /// Loads `{scope}.weight` and `{scope}.bias`: a LayerNorm of `len` values.
    pub async fn load_layer(loader: &mut Loader<'_>, scope: &str, len: u32, eps: f32) -> Result<Self> {
        let weight = loader.vector(&format!("{scope}.weight"), len).await?;
        let bias = Some(loader.vector(&format!("{scope}.bias"), len).await?);
        Ok(Self(NormWeights { weight, bias, eps }))
    }

    /// y = norm(x) for all columns of the step.
    pub fn record(&self, pass: &mut Pass<'_>, x: &Columns, y: &Columns) {
        norm(pass, self.0, x, y);
    }

    fn prologue(&self) -> RmsPrologue {
        RmsPrologue { weight: self.0.weight, eps: self.0.eps }
    }
}
