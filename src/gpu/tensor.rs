//! What kernels work on: weight matrices as GPU planes, in as many parts as the device's bindings ask for, and columns of
//! activations. Knows formats, no kernel and no model.

use super::upload::{Stack, Uploads};
use super::{Buffer, Gpu};
use crate::error::{Error, Result};
use crate::format::planes::{self, PlaneLayout, RowOrder};
use crate::format::{Checkpoint, DType, TensorInfo};

/// Values of an activation column are padded to whole steps of weights.
const STEP: u32 = planes::STEP as u32;

/// Rows of a matrix that lie in one buffer and have one type.
#[derive(Clone, Debug)]
pub struct Part {
    pub(crate) buffer: Buffer,
    pub(crate) dtype: DType,
    /// Start of each plane, in vec4s.
    pub(crate) planes: [u32; 4],
    pub(crate) first_row: u32,
    pub(crate) n_rows: u32,
}

/// Weights `(n_rows, n_cols)` on the GPU: file tensors stacked by rows (q, k, v as one), split where types differ or a
/// binding would be too large.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub(crate) n_rows: u32,
    pub(crate) n_cols: u32,
    pub(crate) order: RowOrder,
    pub(crate) parts: Vec<Part>,
}

/// Activations `(n_columns, n_values)`, one column per token, f32, each padded with zeros to a whole step.
#[derive(Clone, Debug)]
pub struct Columns {
    pub(crate) buffer: Buffer,
    pub(crate) n_columns: u32,
    pub(crate) n_values: u32,
}

impl Columns {
    /// Zeroed room for `n_columns` columns of `n_values`.
    pub fn new(gpu: &Gpu, label: &str, n_columns: u32, n_values: u32) -> Result<Self> {
        let n_bytes = u64::from(n_columns) * u64::from(n_values.next_multiple_of(STEP)) * 4;
        Ok(Self { buffer: gpu.buffer(label, n_bytes)?, n_columns, n_values })
    }

    /// Writes `(n_columns, n_values)` values, row-major, into the first columns.
    pub fn write(&self, gpu: &Gpu, values: &[f32]) {
        let (n_values, stride) = (self.n_values as usize, self.stride() as usize);
        let mut padded = vec![0.0f32; values.len() / n_values * stride];
        for (to, from) in padded.chunks_mut(stride).zip(values.chunks(n_values)) {
            to[..n_values].copy_from_slice(from);
        }
        gpu.write(&self.buffer, 0, bytemuck::cast_slice(&padded));
    }

    /// Reads the first `n_columns` columns back, without their padding.
    pub async fn read(&self, gpu: &Gpu, n_columns: usize) -> Result<Vec<Vec<f32>>> {
        let stride = self.stride() as usize;
        let bytes = gpu.read(&self.buffer, 0, (n_columns * stride * 4) as u64).await?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        Ok(values.chunks(stride).map(|column| column[..self.n_values as usize].to_vec()).collect())
    }

    /// The buffer behind the columns.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Floats from one column to the next.
    pub(crate) fn stride(&self) -> u32 {
        self.n_values.next_multiple_of(STEP)
    }
}

/// The tensor called `name`, or an error that names it.
pub(crate) fn expect<'a>(checkpoint: &'a Checkpoint, name: &str) -> Result<&'a TensorInfo> {
    checkpoint.tensor(name).ok_or_else(|| Error::format(checkpoint.name(), format!("tensor {name} is missing")))
}

impl Matrix {
    /// Bytes of its parts.
    pub fn n_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.buffer.n_bytes()).sum()
    }

    /// How many parts it lies in.
    pub fn n_parts(&self) -> usize {
        self.parts.len()
    }

    /// The same rows as some of `n_rows`, from `first_row` on.
    pub(crate) fn placed(mut self, first_row: u32, n_rows: u32) -> Self {
        self.parts.iter_mut().for_each(|part| part.first_row += first_row);
        self.n_rows = n_rows;
        self
    }

    /// Whether its parts are whole heads of `head_dim` rows in `order`.
    pub(crate) fn has_heads(&self, head_dim: u32, order: RowOrder) -> bool {
        let is_whole = |part: &Part| part.first_row.is_multiple_of(head_dim) && part.n_rows.is_multiple_of(head_dim);
        self.order == order && self.parts.iter().all(is_whole)
    }

    /// Steps of 64 weights per row.
    pub(crate) fn steps(&self) -> u32 {
        self.n_cols.div_ceil(STEP)
    }

    /// Whether each quad of rows is two gates and their ups.
    pub(crate) fn has_gates_and_ups(&self) -> bool {
        self.order == RowOrder::Halves { block: self.n_rows.into() }
    }

    /// Makes room for the tensors `names`, stacked by rows in this order, and adds to `uploads` what fills it. Rows stand in
    /// `order` where blocks of it lie whole in parts, else as in the files.
    ///
    /// # Errors
    /// `Format` when a tensor is missing or is no `(rows, n_cols)` matrix, `Unsupported` when types change within a quad of
    /// rows, `Limit` when the device holds no such buffers.
    pub(crate) fn lay_out<'a>(
        gpu: &Gpu,
        checkpoint: &'a Checkpoint,
        names: &[String],
        n_cols: u32,
        order: RowOrder,
        uploads: &mut Uploads<'a>,
    ) -> Result<Self> {
        let mut infos = Vec::new();
        for name in names {
            let info = expect(checkpoint, name)?;
            if info.shape.len() != 2 || info.cols() != u64::from(n_cols) {
                let reason = format!("tensor {name} has shape {:?}, (rows, {n_cols}) was wanted", info.shape);
                return Err(Error::format(checkpoint.name(), reason));
            }
            infos.push(info);
        }
        let stacks: Vec<Stack<'a>> =
            infos.chunk_by(|a, b| a.dtype == b.dtype).map(|tensors| Stack(tensors.into())).collect();
        let limit = gpu.info().max_binding_bytes.min(gpu.info().max_buffer_bytes);
        let order = if stacks.iter().all(|stack| stack.takes(order, limit)) { order } else { RowOrder::AsFiled };
        let mut parts = Vec::new();
        let mut first_row: u32 = 0;
        for stack in &stacks {
            if !first_row.is_multiple_of(4) {
                // Kernels write whole quads of rows.
                let (name, dtype) = (&stack.0[0].name, stack.dtype().name());
                let file = checkpoint.name();
                return Err(Error::unsupported(format!(
                    "tensor {name} of {file} is {dtype} after {first_row} rows of another type: a multiple of 4 was wanted"
                )));
            }
            let most = stack.rows_within(order, limit)?;
            for first in (0..stack.n_rows()).step_by(most as usize) {
                let n_rows = most.min(stack.n_rows() - first);
                let layout = PlaneLayout::new(stack.dtype(), n_rows, u64::from(n_cols))?;
                let buffer = gpu.buffer(&stack.0[0].name, layout.n_bytes())?;
                uploads.add_rows(stack, first, order, &buffer, &layout);
                let n_rows = n_rows as u32;
                parts.push(Part { buffer, dtype: stack.dtype(), planes: layout.planes, first_row, n_rows });
                first_row += n_rows;
            }
        }
        Ok(Self { n_rows: first_row, n_cols, order, parts })
    }

    /// Lays the tensors `names` out and fills them; `on_bytes` hears of every piece's file bytes.
    ///
    /// # Errors
    /// As `lay_out`, and what reading gives.
    pub async fn load(
        gpu: &Gpu,
        checkpoint: &Checkpoint,
        names: &[String],
        n_cols: u32,
        order: RowOrder,
        on_bytes: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Self> {
        let mut uploads = Uploads::default();
        let matrix = Self::lay_out(gpu, checkpoint, names, n_cols, order, &mut uploads)?;
        uploads.run(gpu, checkpoint, on_bytes).await?;
        Ok(matrix)
    }
}
