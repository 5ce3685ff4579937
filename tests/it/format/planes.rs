//! Planes: the places of bits, written out by hand as the kernels read them, and the same weights back again.

use super::bits;
use proptest::prelude::*;
use trice::format::planes::{PlaneLayout, ROW_STEP, repack, unpack};
use trice::format::{DType, blocks};

/// A code of every weight of a granule that tells weights apart.
fn code(i: usize) -> u8 {
    (i * 7 % 16) as u8
}

/// The 16 bytes of nibbles of a legacy block with these codes.
fn file_nibbles() -> Vec<u8> {
    (0..16).map(|i| code(i) | code(16 + i) << 4).collect()
}

/// The same codes as the kernels read them: byte b of word j holds weights 8j + b and 8j + 4 + b.
fn plane_nibbles() -> Vec<u8> {
    (0..16).map(|i| code(i / 4 * 8 + i % 4) | code(i / 4 * 8 + 4 + i % 4) << 4).collect()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(16, 0);
    out
}

#[test]
fn legacy_blocks_lie_as_the_kernels_read_them() {
    let nibbles = file_nibbles();
    let q4_0 = [&[0x11, 0x22][..], &nibbles].concat();
    assert_eq!(repack(DType::Q4_0, 32, &q4_0), [plane_nibbles(), padded(&[0x11, 0x22])]);
    let q5_0 = [&[0x11, 0x22, 1, 2, 3, 4][..], &nibbles].concat();
    let wanted = [plane_nibbles(), padded(&[1, 2, 3, 4]), padded(&[0x11, 0x22])];
    assert_eq!(repack(DType::Q5_0, 32, &q5_0), wanted);
    let q5_1 = [&[0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4][..], &nibbles].concat();
    let wanted = [plane_nibbles(), padded(&[1, 2, 3, 4]), padded(&[0x11, 0x22, 0x33, 0x44])];
    assert_eq!(repack(DType::Q5_1, 32, &q5_1), wanted);
    let codes: Vec<u8> = (0..32).collect();
    let q8_0 = [&[0x11, 0x22][..], &codes].concat();
    assert_eq!(repack(DType::Q8_0, 32, &q8_0), [codes, padded(&[0x11, 0x22])]);
}

#[test]
fn q6_k_lies_as_the_kernels_read_it() {
    // Weight i of the block has the code i % 64; the file keeps halves of 128 as four runs of 32.
    let code = |i: usize| (i % 64) as u8;
    let mut block = vec![0u8; 210];
    for i in 0..256 {
        let (half, run, l) = (i / 128, i / 32 % 4, i % 32);
        block[half * 64 + run % 2 * 32 + l] |= (code(i) & 15) << (run / 2 * 4);
        block[128 + half * 32 + l] |= (code(i) >> 4) << (run * 2);
    }
    block[192..208].copy_from_slice(&std::array::from_fn::<u8, 16, _>(|i| i as u8 + 1));
    block[208..].copy_from_slice(&[0x11, 0x22]);
    let planes = repack(DType::Q6_K, 256, &block);
    for (granule, low) in planes[0].chunks_exact(16).enumerate() {
        for (i, byte) in low.iter().enumerate() {
            let first = granule * 32 + i / 4 * 8 + i % 4;
            assert_eq!(*byte, code(first) & 15 | (code(first + 4) & 15) << 4);
        }
    }
    for (granule, high) in planes[1].chunks_exact(8).enumerate() {
        for (i, byte) in high.iter().enumerate() {
            let wanted =
                (0..4).fold(0, |bits, t| bits | code(granule * 32 + i / 4 * 16 + 4 * t + i % 4) >> 4 << (2 * t));
            assert_eq!(*byte, wanted);
        }
    }
    assert_eq!(planes[2], (1..=16).collect::<Vec<u8>>());
    assert_eq!(planes[3], padded(&[0x11, 0x22]));
}

#[test]
fn layouts_count_units() {
    let layout = |dtype, rows, cols| {
        let layout = PlaneLayout::new(dtype, rows, cols).unwrap();
        (layout.planes, layout.n_bytes())
    };
    assert_eq!(layout(DType::F32, 3, 33), ([0; 4], 3 * 2 * 128));
    assert_eq!(layout(DType::F16, 3, 32), ([0; 4], 3 * 64));
    // 3 rows of one granule: 48 bytes of codes, then 6 of scales in one unit.
    assert_eq!(layout(DType::Q4_0, 3, 32), ([0, 3, 0, 0], 48 + 16));
    assert_eq!(layout(DType::Q8_0, 8, 64), ([0, 32, 0, 0], 512 + 32));
    assert_eq!(layout(DType::Q5_0, 9, 32), ([0, 9, 12, 0], 144 + 48 + 32));
    assert_eq!(layout(DType::Q5_1, 9, 32), ([0, 9, 12, 0], 144 + 48 + 48));
    assert_eq!(layout(DType::Q4_K, 2, 512), ([0; 4], 4 * 144));
    assert_eq!(layout(DType::Q6_K, 1, 512), ([0, 16, 24, 26], 26 * 16 + 16));
    assert_eq!(PlaneLayout::new(DType::Q6_K, 16, 512).unwrap().chunk(8), [2048, 4096 + 1024, 6144 + 256, 6656 + 32]);
}

#[test]
fn refuses_rows_that_are_not_whole() {
    for (dtype, cols) in [(DType::Q4_0, 33), (DType::Q4_K, 128), (DType::F32, u64::MAX)] {
        assert!(PlaneLayout::new(dtype, 2, cols).is_err(), "{} {cols}", dtype.name());
    }
    assert!(PlaneLayout::new(DType::F32, 1 << 40, 32).is_ok());
    assert!(PlaneLayout::new(DType::Q4_0, 1 << 34, 32).is_err());
}

/// Uploads `bytes` as the engine does, `step` rows at a time.
fn pack(layout: &PlaneLayout, bytes: &[u8], step: u64) -> Vec<u8> {
    let row_bytes = layout.dtype.row_bytes(layout.cols).unwrap() as usize;
    let mut buffer = vec![0; layout.n_bytes() as usize];
    for first_row in (0..layout.rows).step_by(step as usize) {
        let n_rows = step.min(layout.rows - first_row) as usize;
        let rows = &bytes[first_row as usize * row_bytes..][..n_rows * row_bytes];
        let parts = repack(layout.dtype, layout.cols as usize, rows);
        assert_eq!(parts.len(), layout.n_planes());
        for (part, offset) in parts.iter().zip(layout.chunk(first_row)) {
            assert!(offset.is_multiple_of(16) && part.len().is_multiple_of(16));
            buffer[offset as usize..][..part.len()].copy_from_slice(part);
        }
    }
    buffer
}

/// A matrix and how it is cut: type, rows, cols, rows per chunk, seed.
fn any_matrix() -> impl Strategy<Value = (DType, u64, u64, u64, u64)> {
    let dtypes: Vec<DType> = DType::all().collect();
    (prop::sample::select(dtypes), 1u64..40, 1u64..150, 1u64..4, any::<u64>()).prop_map(
        |(dtype, rows, n, steps, seed)| {
            let cols = if dtype.block_len() == 1 { n } else { (n % 5 + 1) * dtype.block_len() as u64 };
            (dtype, rows, cols, steps * ROW_STEP, seed)
        },
    )
}

/// Pseudo-random file bytes whose floats are all numbers.
fn file_bytes(dtype: DType, n_weights: u64, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let n_blocks = n_weights as usize / dtype.block_len();
    if dtype.block_len() == 1 {
        let weights: Vec<f32> = (0..n_blocks).map(|_| random() as f32 / 1e9 - 1.0).collect();
        return blocks::quantize(dtype, &weights).unwrap();
    }
    let scales: &[usize] = match dtype {
        DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q6_K => &[208],
        _ => &[0],
    };
    let mut out: Vec<u8> = (0..n_blocks * dtype.block_bytes()).map(|_| random() as u8).collect();
    for block in out.chunks_exact_mut(dtype.block_bytes()) {
        for &at in scales {
            block[at + 1] = block[at + 1] & 0x83 | 0x20;
        }
    }
    out
}

proptest! {
    #[test]
    fn planes_hold_the_same_weights((dtype, rows, cols, step, seed) in any_matrix()) {
        let bytes = file_bytes(dtype, rows * cols, seed);
        let wanted = bits(&blocks::dequantize(dtype, &bytes));
        let layout = PlaneLayout::new(dtype, rows, cols).unwrap();
        for step in [step, rows.next_multiple_of(ROW_STEP)] {
            let buffer = pack(&layout, &bytes, step);
            prop_assert_eq!(bits(&unpack(&layout, &buffer)), wanted.clone());
        }
    }
}
