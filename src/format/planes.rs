//! File blocks to GPU planes: the same bits at aligned places. GGUF blocks of 18, 34 or 210 bytes would make every
//! 32-bit load of a shader unaligned, so each matrix becomes one to four arrays of 16-byte units. Pure and streaming;
//! holds no upload and no arithmetic on weights except the CPU twin `unpack`.
//!
//! A matrix is `(rows, cols)`; a row is cut into granules of 32 weights, numbered `row * granules_per_row + g`.

use super::DType;
use super::blocks::{self, K_BLOCK};
use crate::error::{Error, Result};

/// Weights per granule.
pub const GRANULE: usize = 32;

/// Bytes per unit: what one `vec4<u32>` load brings.
pub const UNIT: u64 = 16;

/// Chunks uploaded apart begin at rows that are a multiple of this, so that every plane's part starts on a unit.
pub const ROW_STEP: u64 = 8;

/// A plane holds `bytes` bytes for every `granules` granules.
#[derive(Clone, Copy)]
struct Plane {
    granules: u64,
    bytes: u64,
}

/// The planes of each type, in order of their place in the buffer.
fn planes_of(dtype: DType) -> &'static [Plane] {
    const fn per_granule(bytes: u64) -> Plane {
        Plane { granules: 1, bytes }
    }
    const fn per_k_block(bytes: u64) -> Plane {
        Plane { granules: (K_BLOCK / GRANULE) as u64, bytes }
    }
    match dtype {
        DType::F32 => const { &[per_granule(128)] },
        DType::F16 | DType::BF16 => const { &[per_granule(64)] },
        // codes, scale
        DType::Q8_0 => const { &[per_granule(32), per_granule(2)] },
        DType::Q4_0 => const { &[per_granule(16), per_granule(2)] },
        // low nibbles, fifth bits, scale (and minimum)
        DType::Q5_0 => const { &[per_granule(16), per_granule(4), per_granule(2)] },
        DType::Q5_1 => const { &[per_granule(16), per_granule(4), per_granule(4)] },
        // the file's own blocks: 144 and 176 bytes are whole units
        DType::Q4_K => const { &[per_k_block(144)] },
        DType::Q5_K => const { &[per_k_block(176)] },
        // low nibbles, upper two bits, sub-block scales, scale
        DType::Q6_K => const { &[per_granule(16), per_granule(8), per_k_block(16), per_k_block(2)] },
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
        if dtype.row_bytes(cols).is_none() {
            return Err(invalid("rows must be whole blocks"));
        }
        let granules = rows.checked_mul(cols.div_ceil(GRANULE as u64));
        let mut planes = [0; 4];
        let mut n_bytes = 0u64;
        for (start, plane) in planes.iter_mut().zip(planes_of(dtype)) {
            *start = u32::try_from(n_bytes / UNIT).map_err(|_| invalid("more than 64 GiB"))?;
            n_bytes = granules
                .and_then(|granules| (granules / plane.granules).checked_mul(plane.bytes))
                .and_then(|bytes| bytes.checked_next_multiple_of(UNIT))
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

    /// Granules of 32 weights per row; the last is padded with zeros.
    pub fn granules_per_row(&self) -> u64 {
        self.cols.div_ceil(GRANULE as u64)
    }

    /// Byte offset in the buffer of each plane's part that begins at `first_row`, a multiple of `ROW_STEP`.
    pub fn chunk(&self, first_row: u64) -> [u64; 4] {
        debug_assert!(first_row.is_multiple_of(ROW_STEP), "row {first_row} is no multiple of {ROW_STEP}");
        let mut offsets = [0; 4];
        for (i, plane) in planes_of(self.dtype).iter().enumerate() {
            let skipped = first_row * self.granules_per_row() / plane.granules * plane.bytes;
            offsets[i] = u64::from(self.planes[i]) * UNIT + skipped;
        }
        offsets
    }
}

/// Turns whole rows of file blocks into their parts of the planes, one `Vec` per plane, each padded to 16 bytes.
/// Write part `i` at `PlaneLayout::chunk(first_row)[i]`. Bytes after the last whole row are ignored.
pub fn repack(dtype: DType, cols: usize, rows: &[u8]) -> Vec<Vec<u8>> {
    let mut planes = match dtype {
        DType::F32 | DType::F16 | DType::BF16 => vec![pad_rows(dtype, cols * dtype.block_bytes(), rows)],
        DType::Q4_K | DType::Q5_K => vec![rows.to_vec()],
        DType::Q8_0 => split_q8_0(rows),
        DType::Q4_0 => split_legacy(rows, &[(0, 2)], 18),
        DType::Q5_0 => split_legacy(rows, &[(2, 4), (0, 2)], 22),
        DType::Q5_1 => split_legacy(rows, &[(4, 4), (0, 4)], 24),
        DType::Q6_K => split_q6_k(rows),
    };
    for plane in &mut planes {
        plane.resize(plane.len().next_multiple_of(UNIT as usize), 0);
    }
    planes
}

/// Fills each row of floats up with zeros to whole granules.
fn pad_rows(dtype: DType, row_bytes: usize, rows: &[u8]) -> Vec<u8> {
    let padded = row_bytes.next_multiple_of(GRANULE * dtype.block_bytes());
    if row_bytes == padded {
        return rows.to_vec();
    }
    let mut out = Vec::with_capacity(rows.len() / row_bytes * padded);
    for row in rows.chunks_exact(row_bytes) {
        out.extend_from_slice(row);
        out.resize(out.len() + padded - row_bytes, 0);
    }
    out
}

fn split_q8_0(rows: &[u8]) -> Vec<Vec<u8>> {
    let n_blocks = rows.len() / 34;
    let (mut codes, mut scales) = (Vec::with_capacity(n_blocks * 32), Vec::with_capacity(n_blocks * 2));
    for block in rows.chunks_exact(34) {
        scales.extend_from_slice(&block[..2]);
        codes.extend_from_slice(&block[2..]);
    }
    vec![codes, scales]
}

/// Q4_0, Q5_0 and Q5_1 end in 16 bytes of nibbles; `fields` are the (offset, length) of what stands before them, one
/// plane each.
fn split_legacy(rows: &[u8], fields: &[(usize, usize)], block_bytes: usize) -> Vec<Vec<u8>> {
    let n_blocks = rows.len() / block_bytes;
    let mut planes = vec![Vec::with_capacity(n_blocks * 16)];
    planes.extend(fields.iter().map(|(_, len)| Vec::with_capacity(n_blocks * len)));
    for block in rows.chunks_exact(block_bytes) {
        let codes = blocks::codes_4(&block[block_bytes - 16..]);
        planes[0].extend(pack_nibbles(&codes));
        for (plane, &(at, len)) in planes[1..].iter_mut().zip(fields) {
            plane.extend_from_slice(&block[at..at + len]);
        }
    }
    planes
}

fn split_q6_k(rows: &[u8]) -> Vec<Vec<u8>> {
    let n_blocks = rows.len() / 210;
    let (mut low, mut high) = (Vec::with_capacity(n_blocks * 128), Vec::with_capacity(n_blocks * 64));
    let (mut scales, mut d) = (Vec::with_capacity(n_blocks * 16), Vec::with_capacity(n_blocks * 2));
    for block in rows.chunks_exact(210) {
        for codes in blocks::codes_q6_k(block).as_chunks::<GRANULE>().0 {
            low.extend(pack_nibbles(codes));
            high.extend(pack_upper_bits(codes));
        }
        scales.extend_from_slice(&block[192..208]);
        d.extend_from_slice(&block[208..]);
    }
    vec![low, high, scales, d]
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

/// The f32 weights `(rows, cols)` of a packed buffer: the CPU twin of the shaders in `weights/`, for tests.
pub fn unpack(layout: &PlaneLayout, planes: &[u8]) -> Vec<f32> {
    let starts = layout.planes.map(|start| start as usize * UNIT as usize);
    let mut out = Vec::with_capacity((layout.rows * layout.cols) as usize);
    for row in 0..layout.rows {
        let end = out.len() + layout.cols as usize;
        for g in 0..layout.granules_per_row() {
            unpack_granule(layout.dtype, planes, starts, (row * layout.granules_per_row() + g) as usize, &mut out);
        }
        out.truncate(end);
    }
    out
}

/// Appends the 32 weights of a granule; `starts` are the planes' first bytes.
fn unpack_granule(dtype: DType, bytes: &[u8], starts: [usize; 4], granule: usize, out: &mut Vec<f32>) {
    let plane = |plane: usize, at: usize, len: usize| &bytes[starts[plane] + at..][..len];
    let float = |index: usize, at: usize| blocks::f16_at(plane(index, at, 2), 0);
    let nibbles = || unpack_nibbles(plane(0, granule * 16, 16));
    let codes_5 = || {
        let (codes, fifth) = (nibbles(), plane(1, granule * 4, 4));
        std::array::from_fn::<u8, GRANULE, _>(|i| codes[i] | (fifth[i / 8] >> (i % 8) & 1) << 4)
    };
    let (block, g) = (granule / 8, granule % 8);
    match dtype {
        DType::F32 => out.extend(blocks::dequantize(dtype, plane(0, granule * 128, 128))),
        DType::F16 | DType::BF16 => out.extend(blocks::dequantize(dtype, plane(0, granule * 64, 64))),
        DType::Q8_0 => {
            let d = float(1, granule * 2);
            out.extend(plane(0, granule * 32, 32).iter().map(|&q| d * f32::from(q as i8)));
        }
        DType::Q4_0 => {
            let d = float(1, granule * 2);
            out.extend(nibbles().map(|q| d * (f32::from(q) - 8.0)));
        }
        DType::Q5_0 => {
            let d = float(2, granule * 2);
            out.extend(codes_5().map(|q| d * (f32::from(q) - 16.0)));
        }
        DType::Q5_1 => {
            let (d, m) = (float(2, granule * 4), float(2, granule * 4 + 2));
            out.extend(codes_5().map(|q| d * f32::from(q) + m));
        }
        DType::Q4_K | DType::Q5_K => {
            let size = dtype.block_bytes();
            let weights = blocks::dequantize(dtype, plane(0, block * size, size));
            out.extend_from_slice(&weights[g * GRANULE..][..GRANULE]);
        }
        DType::Q6_K => {
            let (low, upper) = (nibbles(), plane(1, granule * 8, 8));
            let (scales, d) = (plane(2, block * 16 + g * 2, 2), float(3, block * 2));
            out.extend(low.iter().enumerate().map(|(i, &low)| {
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
