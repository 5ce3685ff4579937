//! What kernels work on: weight matrices as GPU planes, in as many parts as the device's bindings ask for, and columns of
//! activations. Knows formats, no kernel and no model.

use super::upload::{Span, Uploads};
use super::{Buffer, Gpu};
use crate::error::{Error, Result};
use crate::format::planes::{PlaneLayout, ROW_STEP};
use crate::format::{Checkpoint, DType, TensorInfo};

/// Values of an activation column are padded to whole granules of weights.
const GRANULE: u32 = 32;

/// Rows of a matrix that lie in one buffer and have one type.
#[derive(Debug)]
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
#[derive(Debug)]
pub struct Matrix {
    pub(crate) n_rows: u32,
    pub(crate) n_cols: u32,
    pub(crate) parts: Vec<Part>,
}

/// Activations `(n_columns, n_values)`, one column per token, f32, each padded with zeros to a whole granule.
#[derive(Clone, Debug)]
pub struct Columns {
    pub(crate) buffer: Buffer,
    pub(crate) n_columns: u32,
    pub(crate) n_values: u32,
}

impl Columns {
    /// Zeroed room for `n_columns` columns of `n_values`.
    pub fn new(gpu: &Gpu, label: &str, n_columns: u32, n_values: u32) -> Result<Self> {
        let n_bytes = u64::from(n_columns) * u64::from(n_values.next_multiple_of(GRANULE)) * 4;
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
        self.n_values.next_multiple_of(GRANULE)
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

    /// Whether its parts begin and end at multiples of `n` rows.
    pub(crate) fn has_whole(&self, n: u32) -> bool {
        self.parts.iter().all(|part| part.first_row.is_multiple_of(n) && part.n_rows.is_multiple_of(n))
    }

    /// Granules of 32 weights per row.
    pub(crate) fn granules(&self) -> u32 {
        self.n_cols.div_ceil(GRANULE)
    }

    /// Makes room for the tensors `names`, stacked by rows in this order, and adds to `uploads` what fills it.
    ///
    /// # Errors
    /// `Format` when a tensor is missing or is no `(rows, n_cols)` matrix, `Limit` when the device holds no such buffers.
    pub(crate) fn lay_out<'a>(
        gpu: &Gpu,
        checkpoint: &'a Checkpoint,
        names: &[String],
        n_cols: u32,
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
        let limit = gpu.info().max_binding_bytes.min(gpu.info().max_buffer_bytes);
        let mut parts = Vec::new();
        let mut first_row = 0;
        for spans in split(&infos, limit)? {
            let head = spans[0].info;
            let n_rows = spans.iter().map(|span| span.n_rows).sum();
            let layout = PlaneLayout::new(head.dtype, n_rows, head.cols())?;
            let buffer = gpu.buffer(&head.name, layout.n_bytes())?;
            uploads.add_rows(&spans, &buffer, &layout);
            let n_rows = n_rows as u32;
            parts.push(Part { buffer, dtype: head.dtype, planes: layout.planes, first_row, n_rows });
            first_row += n_rows;
        }
        Ok(Self { n_rows: first_row, n_cols, parts })
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
        on_bytes: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Self> {
        let mut uploads = Uploads::default();
        let matrix = Self::lay_out(gpu, checkpoint, names, n_cols, &mut uploads)?;
        uploads.run(gpu, checkpoint, on_bytes).await?;
        Ok(matrix)
    }
}

/// Groups stacked tensors into parts: a part has one type, at most `limit` bytes, and pieces that begin at whole row steps.
fn split<'a>(infos: &[&'a TensorInfo], limit: u64) -> Result<Vec<Vec<Span<'a>>>> {
    let mut parts: Vec<Vec<Span<'a>>> = Vec::new();
    let mut room = 0;
    for info in infos {
        let step_bytes = PlaneLayout::new(info.dtype, ROW_STEP, info.cols())?.n_bytes();
        let max_rows = limit / step_bytes * ROW_STEP;
        if max_rows == 0 {
            let what = format!("bytes in one binding for {ROW_STEP} rows of {}", info.name);
            return Err(Error::Limit { what, needed: step_bytes, available: limit });
        }
        let mut first = 0;
        while first < info.rows() {
            let joins = parts
                .last()
                .and_then(|part| part.last())
                .is_some_and(|last| last.info.dtype == info.dtype && last.n_rows.is_multiple_of(ROW_STEP) && room > 0);
            if !joins {
                parts.push(Vec::new());
                room = max_rows;
            }
            let n_rows = room.min(info.rows() - first);
            if let Some(part) = parts.last_mut() {
                part.push(Span { info, first, n_rows });
            }
            room -= n_rows;
            first += n_rows;
        }
    }
    Ok(parts)
}
