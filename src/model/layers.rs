//! The parts models are made of, each loaded by name from a checkpoint and recorded into a pass: linear layers and norms.

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::tensor::{Columns, Matrix, expect};
use crate::gpu::{Buffer, Gpu};
use crate::kernels::elementwise::{NormWeights, norm};
use crate::kernels::matmul::{Activation, Epilogue, RmsPrologue, matmul, matvec};
use crate::kernels::{Pass, VectorOffset};
use std::collections::HashSet;

/// Vectors begin at multiples of this many floats and are padded with zeros to it: a granule of activations.
const VECTOR_STEP: usize = 32;

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

    /// y = activate(W·x + bias) + residual, for all columns of the step.
    pub fn record(
        &self,
        pass: &mut Pass<'_>,
        x: &Columns,
        y: &Columns,
        activation: Activation,
        residual: Option<&Columns>,
    ) {
        let epilogue = Epilogue { bias: self.bias, activation, residual };
        if x.n_columns == 1 {
            matvec(pass, &self.weights, x, y, None, epilogue);
        } else {
            matmul(pass, &self.weights, x, y, epilogue);
        }
    }

    /// y = W·norm(x) + bias for all columns of the step: one dispatch for a single column, `normed` between two for many.
    pub fn record_normed(&self, pass: &mut Pass<'_>, norm: &Norm, x: &Columns, normed: &Columns, y: &Columns) {
        if x.n_columns == 1 {
            self.record_last(pass, norm, x, y);
        } else {
            norm.record(pass, x, normed);
            self.record(pass, normed, y, Activation::Identity, None);
        }
    }

    /// y = W·norm(x) + bias for the step's last column alone.
    pub fn record_last(&self, pass: &mut Pass<'_>, norm: &Norm, x: &Columns, y: &Columns) {
        let epilogue = Epilogue { bias: self.bias, ..Epilogue::default() };
        matvec(pass, &self.weights, x, y, Some(norm.prologue()), epilogue);
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
