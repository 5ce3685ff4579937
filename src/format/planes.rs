//! File blocks to GPU planes: the same bits where threads that run side by side find them side by side. GGUF blocks of 18, 34
//! or 210 bytes would make every 32-bit load of a shader unaligned, and rows far apart make neighbours read far apart. Pure and
//! streaming; holds no upload and no arithmetic on weights except the CPU twin `unpack`.
//!
//! A matrix `(rows, cols)` is cut into quads of 4 rows, 8 of which make a tile, and into steps of 64 columns, two granules each.
//! A plane keeps one kind of field (codes, scales, …), `n` bytes per row and granule (or per row and 256 columns). What a quad has
//! in a step, by granule, then row, is a record of whole 16-byte units; a plane is `(tile, step, unit of the record, quad of the
//! tile)`. So a thread that owns a quad reads all it needs of a field in whole units, and eight neighbours 128 bytes in a row.
//! Rows are padded with zeros to whole tiles, columns to whole steps.

mod pack;
mod unpack;

pub use unpack::unpack;

use super::DType;
use super::blocks::K_BLOCK;
use crate::error::{Error, Result};

/// Weights per granule.
pub const GRANULE: usize = 32;

/// Columns of a step: activations are padded to it.
pub const STEP: usize = 2 * GRANULE;

/// Bytes per unit: what one `vec4<u32>` load brings.
pub const UNIT: usize = 16;

/// Rows of a quad, which share a record.
const QUAD: usize = 4;

/// Quads of a tile, whose units alternate.
const QUADS: usize = 8;

/// Bytes from a unit of a record to its next.
const UNIT_STRIDE: usize = QUADS * UNIT;

/// Rows of a tile. Chunks uploaded apart begin at multiples of it.
pub const TILE_ROWS: u64 = (QUAD * QUADS) as u64;

/// Which of a tensor's rows stands where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As in the file.
    AsFiled,
    /// A quad takes two rows from the first half of a block of rows and two from the same place of its second half: what the
    /// kernels use together, such as gates and their ups, or the values of a head that rotate together.
    Halves {
        /// Rows of a block, a multiple of 4.
        block: u64,
    },
    /// Likewise in the first `part` rows of each block; its other rows stand as in the file.
    PartHalves {
        /// Rows of a block, a multiple of 4.
        block: u64,
        /// A multiple of 4, less than `block`.
        part: u64,
    },
}

impl RowOrder {
    /// The row of the file that stands at row `at`.
    pub fn file_row(self, at: u64) -> u64 {
        let (block, part) = match self {
            Self::AsFiled => return at,
            Self::Halves { block } => (block, block),
            Self::PartHalves { block, part } => (block, part),
        };
        let (first, within) = (at / block * block, at % block);
        if within >= part {
            return at;
        }
        let half = if within % 4 < 2 { 0 } else { part / 2 };
        first + half + within / 4 * 2 + within % 2
    }

    /// Rows of a block, which stay together; none where each stands for itself.
    pub fn block(self) -> Option<u64> {
        match self {
            Self::AsFiled => None,
            Self::Halves { block } | Self::PartHalves { block, .. } => Some(block),
        }
    }
}

/// A plane: `bytes` bytes per row for every `granules` granules.
#[derive(Clone, Copy)]
struct Plane {
    granules: usize,
    bytes: usize,
}

impl Plane {
    /// Granules of a record: a step of them, or what its field is about where that is more.
    fn record_granules(self) -> usize {
        self.granules.max(STEP / GRANULE)
    }

    fn record_units(self) -> usize {
        self.record_granules() / self.granules * QUAD * self.bytes / UNIT
    }

    /// Bytes that a tile of rows of `n_granules` granules takes.
    fn tile_bytes(self, n_granules: usize) -> usize {
        n_granules.div_ceil(self.record_granules()) * self.record_units() * UNIT_STRIDE
    }

    /// Where a row's fields begin.
    fn row_start(self, n_granules: usize, row: usize) -> usize {
        let (tile, quad) = (row / QUAD / QUADS, row / QUAD % QUADS);
        tile * self.tile_bytes(n_granules) + quad * UNIT
    }

    /// Where the field of a granule begins, from there; its units, where it has several, are `UNIT_STRIDE` apart.
    fn place(self, row_of_quad: usize, granule: usize) -> usize {
        let (record, within) = (granule / self.record_granules(), granule % self.record_granules() / self.granules);
        let first = (within * QUAD + row_of_quad) * self.bytes;
        record * self.record_units() * UNIT_STRIDE + first / UNIT * UNIT_STRIDE + first % UNIT
    }
}

/// The planes of each type, in order of their place in the buffer.
fn planes_of(dtype: DType) -> &'static [Plane] {
    const fn per_granule(bytes: usize) -> Plane {
        Plane { granules: 1, bytes }
    }
    const fn per_half_k_block(bytes: usize) -> Plane {
        Plane { granules: K_BLOCK / GRANULE / 2, bytes }
    }
    const fn per_k_block(bytes: usize) -> Plane {
        Plane { granules: K_BLOCK / GRANULE, bytes }
    }
    match dtype {
        DType::F32 => const { &[per_granule(128)] },
        DType::F16 | DType::BF16 => const { &[per_granule(64)] },
        // codes, scale
        DType::Q8_0 => const { &[per_granule(32), per_granule(2)] },
        DType::Q4_0 | DType::IQ4_NL => const { &[per_granule(16), per_granule(2)] },
        // codes, scale as the upper half of an f32
        DType::MXFP4 => const { &[per_granule(16), per_granule(2)] },
        // codes, scale and minimum
        DType::Q4_1 => const { &[per_granule(16), per_granule(4)] },
        // low nibbles, scale (and minimum), fifth bits
        DType::Q5_0 => const { &[per_granule(16), per_granule(2), per_granule(4)] },
        DType::Q5_1 => const { &[per_granule(16), per_granule(4), per_granule(4)] },
        // low nibbles, 6-bit scale and minimum as bytes, their f16 factors, fifth bits
        DType::Q4_K => const { &[per_granule(16), per_granule(2), per_k_block(4)] },
        DType::Q5_K => const { &[per_granule(16), per_granule(2), per_k_block(4), per_granule(4)] },
        // codes of two bits, 2 bytes of a 4-bit scale and minimum, their f16 factors
        DType::Q2_K => const { &[per_granule(8), per_granule(2), per_k_block(4)] },
        // lower two bits, 2 signed scales, their f16 factor and two bytes of zeros, third bits
        DType::Q3_K => const { &[per_granule(8), per_granule(2), per_k_block(4), per_granule(4)] },
        // codes, 4 signed scales, their f16 factor and two bytes of zeros
        DType::IQ4_XS => const { &[per_granule(16), per_half_k_block(4), per_k_block(4)] },
        // low nibbles, 2 signed scales, their f16 factor and two bytes of zeros, upper two bits
        DType::Q6_K => const { &[per_granule(16), per_granule(2), per_k_block(4), per_granule(8)] },
    }
}

/// Where the planes of one matrix lie in its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneLayout {
    /// How the weights are stored.
    pub dtype: DType,
    /// Number of rows.
    pub rows: u64,
    /// Weights per row, without padding.
    pub cols: u64,
    /// Start of each plane in 16-byte units; 0 for planes that the type lacks.
    pub planes: [u32; 4],
    n_bytes: u64,
}

impl PlaneLayout {
    /// Lays `rows` × `cols` weights out. `Error::Invalid` when `cols` is no whole number of blocks or the buffer would
    /// not be addressable in 32-bit units.
    pub fn new(dtype: DType, rows: u64, cols: u64) -> Result<Self> {
        let invalid = |why: &str| Error::invalid(format!("a {} matrix of {rows} x {cols}: {why}", dtype.name()));
        if dtype.row_bytes(cols).is_none() || cols > u64::from(u32::MAX) {
            return Err(invalid("rows must be whole blocks"));
        }
        let (tiles, granules) = (rows.div_ceil(TILE_ROWS), n_granules(cols));
        let mut planes = [0; 4];
        let mut n_bytes = 0u64;
        for (start, plane) in planes.iter_mut().zip(planes_of(dtype)) {
            *start = u32::try_from(n_bytes / UNIT as u64).map_err(|_| invalid("more than 64 GiB"))?;
            n_bytes = tiles
                .checked_mul(plane.tile_bytes(granules) as u64)
                .and_then(|bytes| n_bytes.checked_add(bytes))
                .ok_or_else(|| invalid("more bytes than 64 bits count"))?;
        }
        Ok(Self { dtype, rows, cols, planes, n_bytes })
    }

    /// Length of the buffer that holds all planes.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// How many planes the type has.
    pub fn n_planes(&self) -> usize {
        planes_of(self.dtype).len()
    }

    /// Byte offset in the buffer of each plane's part that begins at `first_row`, a multiple of `TILE_ROWS`.
    pub fn chunk(&self, first_row: u64) -> [u64; 4] {
        debug_assert!(first_row.is_multiple_of(TILE_ROWS), "row {first_row} is no multiple of {TILE_ROWS}");
        let mut offsets = [0; 4];
        for (i, plane) in planes_of(self.dtype).iter().enumerate() {
            let skipped = first_row / TILE_ROWS * plane.tile_bytes(n_granules(self.cols)) as u64;
            offsets[i] = u64::from(self.planes[i]) * UNIT as u64 + skipped;
        }
        offsets
    }
}

/// Granules of a row of `cols` weights, which is less than 2³²; the last is padded with zeros.
fn n_granules(cols: u64) -> usize {
    cols.div_ceil(GRANULE as u64) as usize
}

/// Turns whole rows of file blocks into their parts of the planes, one `Vec` per plane, in whole tiles. Write part `i` at
/// `PlaneLayout::chunk(first_row)[i]`. Bytes after the last whole row are ignored. Row `i` of the planes is row
/// `order.file_row(i)` of `rows`.
pub fn repack(dtype: DType, cols: usize, rows: &[u8], order: RowOrder) -> Vec<Vec<u8>> {
    let (planes, granules) = (planes_of(dtype), n_granules(cols as u64));
    let row_bytes = cols / dtype.block_len() * dtype.block_bytes();
    let n_rows = rows.len() / row_bytes.max(1);
    let tiles = n_rows.div_ceil(TILE_ROWS as usize);
    let mut out: Vec<_> = planes.iter().map(|plane| vec![0; tiles * plane.tile_bytes(granules)]).collect();
    // By plane, row of a quad and granule, once for all rows: the divisions would take longer than the copying.
    let places_of = |plane: &Plane, row: usize| (0..granules).map(|granule| plane.place(row, granule)).collect();
    let places: Vec<[Vec<usize>; QUAD]> =
        planes.iter().map(|plane| std::array::from_fn(|row| places_of(plane, row))).collect();
    for row in 0..n_rows {
        let from = order.file_row(row as u64) as usize * row_bytes;
        let starts: [usize; 4] =
            std::array::from_fn(|i| planes.get(i).map_or(0, |plane| plane.row_start(granules, row)));
        let mut put = |plane: usize, granule: usize, field: &[u8]| {
            let mut at = starts[plane] + places[plane][row % QUAD][granule];
            // A last granule may be short: its rest stays zero.
            for run in field.chunks(UNIT) {
                copy(&mut out[plane][at..at + run.len()], run);
                at += UNIT_STRIDE;
            }
        };
        pack::put_row(dtype, &rows[from..from + row_bytes], &mut put);
    }
    out
}

/// Copies a field, of a size that the compiler knows where it can be: a call that copies any number of bytes takes longer than that.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        2 => copy_n::<2>(to, from),
        4 => copy_n::<4>(to, from),
        UNIT => copy_n::<UNIT>(to, from),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn copy_n<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
}
