//! A checkpoint whose tensors are of other types than its files hold: rows are rounded as they are read, so that no model is ever
//! whole in memory.

use super::mix::{Mix, layer_of};
use super::{Checkpoint, DType, TensorInfo, blocks, joined};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Weights that are worth a thread.
const LEAST_PER_THREAD: usize = 1 << 16;

/// The type of a matrix of a file of `mix`; parts of what is one matrix there have one.
fn dtype_in(mix: &Mix, tensor: &TensorInfo, n_layers: u64) -> DType {
    let joined = joined(tensor).map(|(name, _)| name);
    mix.dtype_of(joined.as_deref().unwrap_or(&tensor.name), tensor.cols(), n_layers)
}

impl Checkpoint {
    /// The same model with the matrices that are floats in the types of `mix`.
    ///
    /// # Errors
    /// `Unsupported` for types that Trice only reads.
    pub fn load_as(self, mix: &Mix) -> Result<Self> {
        let n_layers = self.n_layers();
        self.rounded(|tensor| match Mix::rounds(tensor) && tensor.dtype.is_float() {
            true => dtype_in(mix, tensor, n_layers),
            false => tensor.dtype,
        })
    }

    /// The same model as a file of `mix` has it: matrices in its types, all else in 32-bit floats.
    ///
    /// # Errors
    /// `Unsupported` for types that Trice only reads.
    pub fn in_mix(self, mix: &Mix) -> Result<Self> {
        let n_layers = self.n_layers();
        self.rounded(|tensor| match Mix::rounds(tensor) {
            true => dtype_in(mix, tensor, n_layers),
            false => DType::F32,
        })
    }

    /// The same model, whose tensors are rounded with an eye to how much each of their columns counts: `importance` by name.
    pub fn weighed(self, importance: HashMap<String, Vec<f32>>) -> Self {
        Self { importance, ..self }
    }

    /// Layers that the tensors' names tell of.
    pub(crate) fn n_layers(&self) -> u64 {
        self.tensors().map(|tensor| layer_of(&tensor.name) + 1).max().unwrap_or(0)
    }

    fn rounded(mut self, dtype_of: impl Fn(&TensorInfo) -> DType) -> Result<Self> {
        for tensor in self.tensors.values_mut() {
            let dtype = dtype_of(tensor);
            if dtype == tensor.dtype {
                continue;
            }
            blocks::check_quantizes(dtype)?;
            let row_bytes = dtype.row_bytes(tensor.cols());
            let Some(n_bytes) = row_bytes.and_then(|row_bytes| row_bytes.checked_mul(tensor.rows())) else {
                let (name, dtype, shape) = (&tensor.name, dtype.name(), &tensor.shape);
                return Err(Error::invalid(format!(
                    "tensor {name} of shape {shape:?} in {dtype}: whole blocks wanted"
                )));
            };
            self.filed.entry(tensor.name.clone()).or_insert(tensor.dtype);
            (tensor.dtype, tensor.n_bytes) = (dtype, n_bytes);
        }
        Ok(self)
    }

    /// Rounds rows of `tensor`, `bytes` of type `filed`.
    pub(super) fn round(&self, tensor: &TensorInfo, filed: DType, bytes: &[u8]) -> Result<Vec<u8>> {
        let cols = tensor.cols() as usize;
        let row_bytes = cols / filed.block_len() * filed.block_bytes();
        let n_rows = bytes.len() / row_bytes.max(1);
        // One where threads cannot be counted, as in a browser.
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = n_threads.min(n_rows * cols / LEAST_PER_THREAD).max(1);
        let rows_each = n_rows.div_ceil(n_threads).max(1);
        let importance = self.importance.get(&tensor.name).map(Vec::as_slice);
        let rounded = |rows: &[u8]| blocks::quantize(tensor.dtype, &blocks::dequantize(filed, rows), importance);
        let parts: Vec<Result<Vec<u8>>> = if n_threads == 1 {
            vec![rounded(bytes)]
        } else {
            std::thread::scope(|scope| {
                let all = bytes.chunks(rows_each * row_bytes);
                let threads: Vec<_> = all.map(|rows| scope.spawn(|| rounded(rows))).collect();
                let failed = || Err(Error::invalid("a thread that rounds weights has failed"));
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed())).collect()
            })
        };
        let parts = parts.into_iter().collect::<Result<Vec<_>>>();
        let named = |error: Error| Error::format(&self.name, format!("tensor {}: {error}", tensor.name));
        Ok(parts.map_err(named)?.concat())
    }
}
