//! File blocks to GPU planes: the same bits where threads that run side by side find them side by side. GGUF blocks of 18, 34
//! or 210 bytes would make every 32-bit load of a shader unaligned, and rows far apart make neighbours read far apart. Pure and
//! streaming; holds no upload and no arithmetic on weights except the CPU twin `unpack`.
//!
//! A matrix `(rows, cols)` is cut into quads of 4 rows, 8 of which make a tile, and into steps of 64 columns, two granules each.
//! A plane keeps one kind of field (codes, scales, …), `n` bytes per row and granule (or per row and 256 columns). What a quad has
//! in a step, by granule, then row, is a record of whole 16-byte units; a plane is `(tile, step, unit of the record, quad of the
//! tile)`. So a thread that owns a quad reads all it needs of a field in whole units, and eight neighbours 128 bytes in a row.
//! Rows are padded with zeros to whole tiles, columns to whole steps.

use super::DType;
use super::blocks::{self, K_BLOCK};
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
        n_granules.div_ceil(self.record_granules()) * self.record_units() * QUADS * UNIT
    }

    /// Where the field of a row and granule lies: runs of at most a unit, as (offset in the plane, offset in the field, length).
    fn runs(self, n_granules: usize, row: usize, granule: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (tile, quad) = (row / QUAD / QUADS, row / QUAD % QUADS);
        let (record, within) = (granule / self.record_granules(), granule % self.record_granules() / self.granules);
        let start = tile * self.tile_bytes(n_granules) + record * self.record_units() * QUADS * UNIT;
        let first = (within * QUAD + row % QUAD) * self.bytes;
        (0..self.bytes).step_by(UNIT).map(move |done| {
            let at = first + done;
            (start + (at / UNIT * QUADS + quad) * UNIT + at % UNIT, done, UNIT.min(self.bytes - done))
        })
    }
}

/// The planes of each type, in order of their place in the buffer.
fn planes_of(dtype: DType) -> &'static [Plane] {
    const fn per_granule(bytes: usize) -> Plane {
        Plane { granules: 1, bytes }
    }
    const fn per_k_block(bytes: usize) -> Plane {
        Plane { granules: K_BLOCK / GRANULE, bytes }
    }
    match dtype {
        DType::F32 => const { &[per_granule(128)] },
        DType::F16 | DType::BF16 => const { &[per_granule(64)] },
        // codes, scale
        DType::Q8_0 => const { &[per_granule(32), per_granule(2)] },
        DType::Q4_0 => const { &[per_granule(16), per_granule(2)] },
        // low nibbles, scale (and minimum), fifth bits
        DType::Q5_0 => const { &[per_granule(16), per_granule(2), per_granule(4)] },
        DType::Q5_1 => const { &[per_granule(16), per_granule(4), per_granule(4)] },
        // low nibbles, 6-bit scale and minimum as bytes, their f16 factors, fifth bits
        DType::Q4_K => const { &[per_granule(16), per_granule(2), per_k_block(4)] },
        DType::Q5_K => const { &[per_granule(16), per_granule(2), per_k_block(4), per_granule(4)] },
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
    for row in 0..n_rows {
        let from = order.file_row(row as u64) as usize * row_bytes;
        let mut put = |plane: usize, granule: usize, field: &[u8]| {
            for (at, from, len) in planes[plane].runs(granules, row, granule) {
                // A last granule may be short: its rest stays zero.
                if let Some(run) = field.get(from..field.len().min(from + len)) {
                    out[plane][at..at + run.len()].copy_from_slice(run);
                }
            }
        };
        put_row(dtype, &rows[from..from + row_bytes], &mut put);
    }
    out
}

/// Hands out the fields of a row: `put(plane, granule, bytes)`.
fn put_row(dtype: DType, row: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    let per_granule = if dtype.block_len() == 1 { GRANULE } else { 1 } * dtype.block_bytes();
    for (i, block) in row.chunks(per_granule).enumerate() {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => put(0, i, block),
            DType::Q8_0 => {
                put(0, i, &block[2..]);
                put(1, i, &block[..2]);
            }
            DType::Q4_0 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[2..])));
                put(1, i, &block[..2]);
            }
            DType::Q5_0 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[6..])));
                put(1, i, &block[..2]);
                put(2, i, &block[2..6]);
            }
            DType::Q5_1 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[8..])));
                put(1, i, &block[..4]);
                put(2, i, &block[4..8]);
            }
            DType::Q4_K | DType::Q5_K => put_k_block(dtype, i, block, put),
            DType::Q6_K => put_q6_k(i, block, put),
        }
    }
}

/// Q4_K and Q5_K: header, 6-bit scales, (fifth bits,) nibbles.
fn put_k_block(dtype: DType, i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    let codes = if dtype == DType::Q4_K { blocks::codes_q4_k(block) } else { blocks::codes_q5_k(block) };
    put(2, i * 8, &block[..4]);
    for (s, codes) in codes.as_chunks::<GRANULE>().0.iter().enumerate() {
        let (scale, min) = blocks::scale_min(&block[4..16], s);
        put(0, i * 8 + s, &pack_nibbles(codes));
        put(1, i * 8 + s, &[scale, min]);
        if dtype == DType::Q5_K {
            put(3, i * 8 + s, &blocks::fifth_bits(codes).to_le_bytes());
        }
    }
}

fn put_q6_k(i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[208..]);
    for (s, codes) in blocks::codes_q6_k(block).as_chunks::<GRANULE>().0.iter().enumerate() {
        put(0, i * 8 + s, &pack_nibbles(codes));
        put(1, i * 8 + s, &block[192 + 2 * s..][..2]);
        put(3, i * 8 + s, &pack_upper_bits(codes));
    }
}

/// The low four bits of 32 codes: byte b of word j holds weight 8j + b below and weight 8j + 4 + b above, so that
/// masking a word gives four consecutive weights.
fn pack_nibbles(codes: &[u8; GRANULE]) -> [u8; 16] {
    let mut out = [0; 16];
    for (i, byte) in out.iter_mut().enumerate() {
        let (word, b) = (i / 4, i % 4);
        *byte = codes[8 * word + b] & 15 | codes[8 * word + 4 + b] << 4;
    }
    out
}

/// Bits 4 and 5 of 32 codes: byte b of word h holds those of weights 16h + b, + 4, + 8, + 12, lowest first.
fn pack_upper_bits(codes: &[u8; GRANULE]) -> [u8; 8] {
    let mut out = [0; 8];
    for (i, byte) in out.iter_mut().enumerate() {
        let (word, b) = (i / 4, i % 4);
        *byte = (0..4).fold(0, |bits, t| bits | (codes[16 * word + 4 * t + b] >> 4 & 3) << (2 * t));
    }
    out
}

/// The f32 weights `(rows, cols)` of a packed buffer, in the order of its rows: the CPU twin of the shaders in `weights/`, for
/// tests.
pub fn unpack(layout: &PlaneLayout, planes: &[u8]) -> Vec<f32> {
    let granules = n_granules(layout.cols);
    let mut out = Vec::with_capacity((layout.rows * layout.cols) as usize);
    for row in 0..layout.rows as usize {
        let end = out.len() + layout.cols as usize;
        for granule in 0..granules {
            let field = |i: usize| {
                let plane = planes_of(layout.dtype)[i];
                let mut bytes = vec![0; plane.bytes];
                for (at, to, len) in plane.runs(granules, row, granule) {
                    let at = layout.planes[i] as usize * UNIT + at;
                    bytes[to..to + len].copy_from_slice(&planes[at..at + len]);
                }
                bytes
            };
            unpack_granule(layout.dtype, &field, &mut out);
        }
        out.truncate(end);
    }
    out
}

/// Appends the 32 weights of a granule, whose fields `field` gives by plane.
fn unpack_granule(dtype: DType, field: &dyn Fn(usize) -> Vec<u8>, out: &mut Vec<f32>) {
    let codes = unpack_nibbles(&field(0));
    let with_fifth =
        |bits: Vec<u8>| std::array::from_fn::<u8, GRANULE, _>(|i| codes[i] | (bits[i / 8] >> (i % 8) & 1) << 4);
    let scaled =
        |codes: [u8; GRANULE], d: f32, m: f32, out: &mut Vec<f32>| out.extend(codes.map(|q| d * f32::from(q) + m));
    let centred = |codes: [u8; GRANULE], d: f32, zero: f32, out: &mut Vec<f32>| {
        out.extend(codes.map(|q| d * (f32::from(q) - zero)));
    };
    let k_scale = || {
        let (scales, factors) = (field(1), field(2));
        (blocks::f16_at(&factors, 0) * f32::from(scales[0]), -blocks::f16_at(&factors, 2) * f32::from(scales[1]))
    };
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => out.extend(blocks::dequantize(dtype, &field(0))),
        DType::Q8_0 => {
            let d = blocks::f16_at(&field(1), 0);
            out.extend(field(0).iter().map(|&q| d * f32::from(q as i8)));
        }
        DType::Q4_0 => centred(codes, blocks::f16_at(&field(1), 0), 8.0, out),
        DType::Q5_0 => centred(with_fifth(field(2)), blocks::f16_at(&field(1), 0), 16.0, out),
        DType::Q5_1 => {
            let dm = field(1);
            scaled(with_fifth(field(2)), blocks::f16_at(&dm, 0), blocks::f16_at(&dm, 2), out);
        }
        DType::Q4_K => {
            let (d, m) = k_scale();
            scaled(codes, d, m, out);
        }
        DType::Q5_K => {
            let (d, m) = k_scale();
            scaled(with_fifth(field(3)), d, m, out);
        }
        DType::Q6_K => {
            let (scales, d, upper) = (field(1), blocks::f16_at(&field(2), 0), field(3));
            out.extend(codes.iter().enumerate().map(|(i, &low)| {
                let code = low | (upper[i / 16 * 4 + i % 4] >> (i % 16 / 4 * 2) & 3) << 4;
                d * f32::from(scales[i / 16] as i8) * (f32::from(code) - 32.0)
            }));
        }
    }
}

/// The inverse of `pack_nibbles`.
fn unpack_nibbles(packed: &[u8]) -> [u8; GRANULE] {
    std::array::from_fn(|i| packed[i / 8 * 4 + i % 4] >> (i % 8 / 4 * 4) & 15)
}
