//! Weights on their way from a checkpoint to buffers that exist already, a piece at a time: the next piece is on its way while
//! one is repacked, and the device may be some pieces behind. Knows formats, no model.

use super::{Buffer, Gpu, Mark};
use crate::error::{Error, Result};
use crate::format::blocks::first_non_finite;
use crate::format::planes::{PlaneLayout, ROW_STEP, repack};
use crate::format::{Checkpoint, TensorInfo};
use crate::source::Started;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes of a file read, repacked and handed to the driver at a time. Small enough for the browser's heap, large enough
/// that requests do not dominate.
const PIECE_BYTES: u64 = 2 << 20;

/// Pieces that the device may be behind: it may have shaders to compile first, and a download is not to wait for that.
const MAX_BEHIND: usize = 14;

/// Rows of one file tensor that go into a buffer.
pub(crate) struct Span<'a> {
    pub(crate) info: &'a TensorInfo,
    pub(crate) first: u64,
    pub(crate) n_rows: u64,
}

/// What goes where.
enum Piece<'a> {
    /// Rows of a tensor, as planes.
    Rows { info: &'a TensorInfo, first: u64, n_rows: u64, buffer: Buffer, layout: PlaneLayout, to_row: u64 },
    /// A small tensor as f32 values.
    Vector { info: &'a TensorInfo, buffer: Buffer, offset: u64 },
}

/// Pieces being read at once: one on its way while the one before it is repacked.
const MAX_ASKED: usize = 2;

/// What is to be written to a piece's buffer, and where.
type Writes = Vec<(u64, Vec<u8>)>;

/// All that is still to be read, in order.
#[derive(Default)]
pub(crate) struct Uploads<'a> {
    pieces: VecDeque<Piece<'a>>,
    asked: VecDeque<(Rc<Piece<'a>>, Started<'a, Result<Writes>>)>,
}

impl<'a> Uploads<'a> {
    /// Adds the rows of `spans`, one after another, as the planes of `buffer`.
    pub(crate) fn add_rows(&mut self, spans: &[Span<'a>], buffer: &Buffer, layout: &PlaneLayout) {
        let row_bytes = layout.dtype.row_bytes(layout.cols).unwrap_or(u64::MAX);
        let most = (PIECE_BYTES / row_bytes / ROW_STEP).max(1) * ROW_STEP;
        let mut to_row = 0;
        for Span { info, first, n_rows: all } in spans {
            for done in (0..*all).step_by(most as usize) {
                let (first, n_rows) = (first + done, most.min(all - done));
                let (buffer, layout) = (buffer.clone(), layout.clone());
                self.pieces.push_back(Piece::Rows { info, first, n_rows, buffer, layout, to_row });
                to_row += n_rows;
            }
        }
    }

    /// Adds a small tensor as f32 values from byte `offset` of `buffer`.
    pub(crate) fn add_vector(&mut self, info: &'a TensorInfo, buffer: &Buffer, offset: u64) {
        self.pieces.push_back(Piece::Vector { info, buffer: buffer.clone(), offset });
    }

    /// Asks for the first pieces.
    pub(crate) async fn begin(&mut self, checkpoint: &'a Checkpoint) {
        while self.asked.len() < MAX_ASKED
            && let Some(piece) = self.pieces.pop_front().map(Rc::new)
        {
            let reading = piece.clone();
            let asked = Started::new(async move { reading.read(checkpoint).await }).await;
            self.asked.push_back((piece, asked));
        }
    }

    /// Reads and uploads all of it; `on_bytes` hears of every piece's file bytes, and its error ends it.
    ///
    /// # Errors
    /// What reading gives, `Format` for weights that are no finite numbers, `Gpu` for the driver's.
    pub(crate) async fn run(
        mut self,
        gpu: &Gpu,
        checkpoint: &'a Checkpoint,
        on_bytes: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut behind: VecDeque<Mark> = VecDeque::new();
        loop {
            self.begin(checkpoint).await;
            let Some((piece, asked)) = self.asked.pop_front() else { break };
            for (offset, bytes) in asked.wait().await? {
                gpu.write(piece.buffer(), offset, &bytes);
            }
            behind.push_back(gpu.mark());
            if behind.len() > MAX_BEHIND
                && let Some(mark) = behind.pop_front()
            {
                gpu.reached(mark, "uploading weights").await?;
            }
            on_bytes(piece.n_bytes())?;
        }
        gpu.check("uploading weights")
    }
}

impl Piece<'_> {
    /// Bytes in the file.
    fn n_bytes(&self) -> u64 {
        match self {
            Self::Rows { info, n_rows, .. } => info.dtype.row_bytes(info.cols()).unwrap_or(0) * n_rows,
            Self::Vector { info, .. } => info.n_bytes,
        }
    }

    fn buffer(&self) -> &Buffer {
        match self {
            Self::Rows { buffer, .. } | Self::Vector { buffer, .. } => buffer,
        }
    }

    async fn read(&self, checkpoint: &Checkpoint) -> Result<Writes> {
        match self {
            Self::Rows { info, first, n_rows, layout, to_row, .. } => {
                let (dtype, cols) = (layout.dtype, layout.cols);
                let bytes = checkpoint.read_rows(info, *first, *n_rows).await?;
                if let Some(at) = first_non_finite(dtype, &bytes) {
                    let (name, row) = (&info.name, first + at as u64 / cols);
                    let reason = format!("tensor {name}: finite weights wanted, row {row} holds an infinity or NaN");
                    return Err(Error::format(checkpoint.name(), reason));
                }
                Ok(layout.chunk(*to_row).into_iter().zip(repack(dtype, cols as usize, &bytes)).collect())
            }
            Self::Vector { info, offset, .. } => {
                let values = checkpoint.read_f32(&info.name).await?;
                Ok(vec![(*offset, bytemuck::cast_slice(&values).to_vec())])
            }
        }
    }
}
