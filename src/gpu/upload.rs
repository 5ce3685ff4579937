//! Weights on their way from a checkpoint to buffers that exist already, a piece at a time: the next piece is on its way while
//! one is repacked, and the device may be some pieces behind. Knows formats, no model.

use super::{Buffer, Gpu, Mark};
use crate::error::{Error, Result};
use crate::format::planes::{PlaneLayout, RowOrder, TILE_ROWS, repack};
use crate::format::{Checkpoint, DType, TensorInfo};
use crate::source::Started;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

/// Bytes of a file read, repacked and handed to the driver at a time. Small enough for the browser's heap, large enough
/// that requests do not dominate.
const PIECE_BYTES: u64 = 2 << 20;

/// Pieces that the device may be behind: it may have shaders to compile first, and a download is not to wait for that.
const MAX_BEHIND: usize = 14;

/// File tensors of one type and width, stacked by rows.
#[derive(Clone)]
pub(crate) struct Stack<'a>(pub(crate) Rc<[&'a TensorInfo]>);

impl<'a> Stack<'a> {
    pub(crate) fn dtype(&self) -> DType {
        self.0[0].dtype
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.0.iter().map(|info| info.rows()).sum()
    }

    /// Whether rows may stand in `order`: blocks are whole quads, and lie whole in a part of at most `limit` bytes or are all
    /// there is.
    pub(crate) fn takes(&self, order: RowOrder, limit: u64) -> bool {
        let Some(block) = order.block() else { return true };
        let is_whole = block > 0 && block.is_multiple_of(4) && self.n_rows().is_multiple_of(block);
        is_whole && self.rows_within(order, limit).is_ok()
    }

    /// Rows of a part of at most `limit` bytes: whole tiles of whole blocks.
    pub(crate) fn rows_within(&self, order: RowOrder, limit: u64) -> Result<u64> {
        let (info, step) = (self.0[0], self.row_step(order));
        let needed = PlaneLayout::new(info.dtype, step, info.cols())?.n_bytes();
        if needed > limit {
            let what = format!("bytes in one binding for {step} rows of {}", info.name);
            return Err(Error::Limit { what, needed, available: limit });
        }
        Ok(limit / needed.max(1) * step)
    }

    /// Rows that stay together: whole tiles, and whole blocks unless one block is all there is.
    fn row_step(&self, order: RowOrder) -> u64 {
        match order {
            RowOrder::Halves { block } if block == self.n_rows() => TILE_ROWS,
            _ => order.block().map_or(TILE_ROWS, |block| lcm(TILE_ROWS, block)),
        }
    }

    /// The rows of each tensor among rows `rows` of the stack.
    fn among(&self, rows: Range<u64>) -> impl Iterator<Item = (&'a TensorInfo, u64, u64)> {
        let mut start = 0;
        self.0.iter().filter_map(move |info| {
            let tensor = start..start + info.rows();
            start = tensor.end;
            let (first, end) = (rows.start.max(tensor.start), rows.end.min(tensor.end));
            (first < end).then(|| (*info, first - tensor.start, end - first))
        })
    }
}

fn lcm(a: u64, b: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    a / gcd(a, b) * b
}

/// What goes where.
enum Piece<'a> {
    /// Rows of a stack, as planes from row `to_row` of the buffer. `ranges` are the stack's rows, in `order` once they are
    /// together.
    Rows {
        stack: Stack<'a>,
        ranges: Vec<Range<u64>>,
        order: RowOrder,
        buffer: Buffer,
        layout: PlaneLayout,
        to_row: u64,
    },
    /// A small tensor as f32 values.
    Vector { info: &'a TensorInfo, line: Line, buffer: Buffer, offset: u64 },
}

/// What becomes of each value v of a small tensor: factor·(v + offset).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Multiplied last.
    pub factor: f32,
    /// Added first.
    pub offset: f32,
}

impl Line {
    /// Nothing.
    pub const AS_FILED: Self = Self { factor: 1.0, offset: 0.0 };
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
    /// Adds the rows of `stack` from `first`, as they stand in `order`, as the planes of `buffer`.
    pub(crate) fn add_rows(
        &mut self,
        stack: &Stack<'a>,
        first: u64,
        order: RowOrder,
        buffer: &Buffer,
        layout: &PlaneLayout,
    ) {
        let row_bytes = layout.dtype.row_bytes(layout.cols).unwrap_or(u64::MAX);
        let step = stack.row_step(order);
        let most = (PIECE_BYTES / row_bytes / step).max(1) * step;
        for to_row in (0..layout.rows).step_by(most as usize) {
            let (start, n_rows) = (first + to_row, most.min(layout.rows - to_row));
            let (ranges, order) = filed(order, start..start + n_rows);
            let (stack, buffer, layout) = (stack.clone(), buffer.clone(), layout.clone());
            self.pieces.push_back(Piece::Rows { stack, ranges, order, buffer, layout, to_row });
        }
    }

    /// Adds a small tensor as f32 values, which `line` makes of the file's, from byte `offset` of `buffer`.
    pub(crate) fn add_vector(&mut self, info: &'a TensorInfo, line: Line, buffer: &Buffer, offset: u64) {
        self.pieces.push_back(Piece::Vector { info, line, buffer: buffer.clone(), offset });
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

/// Where the files have rows that stand at `rows` in `order`, and the order in which they then stand among themselves.
fn filed(order: RowOrder, rows: Range<u64>) -> (Vec<Range<u64>>, RowOrder) {
    match order {
        // Part of a block: as many of its first half as of its second, a smaller block.
        RowOrder::Halves { block } if rows.end - rows.start < block => {
            let (first, n) = (rows.start / block * block + rows.start % block / 2, (rows.end - rows.start) / 2);
            let second = first + block / 2;
            (vec![first..first + n, second..second + n], RowOrder::Halves { block: 2 * n })
        }
        _ => (vec![rows], order),
    }
}

impl Piece<'_> {
    /// Bytes in the file.
    fn n_bytes(&self) -> u64 {
        match self {
            Self::Rows { ranges, layout, .. } => {
                let n_rows: u64 = ranges.iter().map(|rows| rows.end - rows.start).sum();
                layout.dtype.row_bytes(layout.cols).unwrap_or(0) * n_rows
            }
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
            Self::Rows { stack, ranges, order, layout, to_row, .. } => {
                let mut bytes = Vec::new();
                for (info, first, n_rows) in ranges.iter().flat_map(|rows| stack.among(rows.clone())) {
                    let rows = checkpoint.read_finite_rows(info, first, n_rows).await?;
                    if bytes.is_empty() { bytes = rows } else { bytes.extend(rows) }
                }
                let planes = repack(layout.dtype, layout.cols as usize, &bytes, *order);
                Ok(layout.chunk(*to_row).into_iter().zip(planes).collect())
            }
            Self::Vector { info, line, offset, .. } => {
                let mut values = checkpoint.read_f32(&info.name).await?;
                values.iter_mut().for_each(|value| *value = line.factor * (*value + line.offset));
                Ok(vec![(*offset, bytemuck::cast_slice(&values).to_vec())])
            }
        }
    }
}
