//! Planes: the places of bits, written out by hand as the kernels read them, and the same weights back again.

use super::bits;
use proptest::prelude::*;
use trice::format::planes::{PlaneLayout, RowOrder, TILE_ROWS, repack, unpack};
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

/// The fields of row 5, granule 1 of a matrix of 6 rows of `granules` granules: it is the second row of the second quad. Every other
/// field is zero. `fields` are their bytes and where the kernels look for them, by plane.
fn check_places(dtype: DType, block: &[u8], n_blocks: usize, fields: &[&[(usize, &[u8])]]) {
    let cols = n_blocks * dtype.block_len();
    let mut rows = vec![0; 6 * n_blocks * dtype.block_bytes()];
    let block_of_granule = 32 / dtype.block_len().min(32);
    let at = (5 * n_blocks + if dtype.block_len() > 32 { 0 } else { block_of_granule }) * dtype.block_bytes();
    rows[at..at + block.len()].copy_from_slice(block);
    let planes = repack(dtype, cols, &rows, RowOrder::AsFiled);
    let layout = PlaneLayout::new(dtype, TILE_ROWS, cols as u64).unwrap();
    assert_eq!(planes.iter().map(|plane| plane.len() as u64).sum::<u64>(), layout.n_bytes());
    for (i, (plane, fields)) in planes.iter().zip(fields).enumerate() {
        let mut wanted = vec![0; plane.len()];
        for (at, bytes) in *fields {
            wanted[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        let differs = plane.iter().zip(&wanted).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{} plane {i}", dtype.name());
    }
}

/// Where unit `u` of the second quad's record lies in a plane, in the first step.
fn unit_of_quad_1(u: usize) -> usize {
    (u * 8 + 1) * 16
}

#[test]
fn legacy_blocks_lie_as_the_kernels_read_them() {
    let (nibbles, codes) = (file_nibbles(), plane_nibbles());
    // Granule 1, row 1 of the quad: the sixth field of a record.
    let field = |bytes: usize| unit_of_quad_1(5 * bytes / 16) + 5 * bytes % 16;
    let q4_0 = [&[0x11, 0x22][..], &nibbles].concat();
    let (scale, fifth) = ([0x11, 0x22], [1, 2, 3, 4]);
    check_places(DType::Q4_0, &q4_0, 2, &[&[(field(16), &codes)], &[(field(2), &scale)]]);
    check_places(DType::IQ4_NL, &q4_0, 2, &[&[(field(16), &codes)], &[(field(2), &scale)]]);
    let q4_1 = [&[0x11, 0x22, 0x33, 0x44][..], &nibbles].concat();
    check_places(DType::Q4_1, &q4_1, 2, &[&[(field(16), &codes)], &[(field(4), &[0x11, 0x22, 0x33, 0x44])]]);
    // Its scale is never zero, so it is looked at alone: 2^(128 - 128) as the upper half of a float.
    let mxfp4 = [&[128][..], &nibbles].concat();
    let planes = repack(DType::MXFP4, 32, &mxfp4, RowOrder::AsFiled);
    assert_eq!((&planes[0][..16], &planes[1][..2]), (&codes[..], &[0x80, 0x3F][..]));
    let q5_0 = [&[0x11, 0x22, 1, 2, 3, 4][..], &nibbles].concat();
    check_places(DType::Q5_0, &q5_0, 2, &[&[(field(16), &codes)], &[(field(2), &scale)], &[(field(4), &fifth)]]);
    let q5_1 = [&[0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4][..], &nibbles].concat();
    let both = [0x11, 0x22, 0x33, 0x44];
    check_places(DType::Q5_1, &q5_1, 2, &[&[(field(16), &codes)], &[(field(4), &both)], &[(field(4), &fifth)]]);
    let codes: Vec<u8> = (0..32).collect();
    let q8_0 = [&[0x11, 0x22][..], &codes].concat();
    let halves: &[(usize, &[u8])] = &[(unit_of_quad_1(10), &codes[..16]), (unit_of_quad_1(11), &codes[16..])];
    check_places(DType::Q8_0, &q8_0, 2, &[halves, &[(field(2), &scale)]]);
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
    let low = |granule: usize| -> Vec<u8> {
        let first = |i: usize| granule * 32 + i / 4 * 8 + i % 4;
        (0..16).map(|i| code(first(i)) & 15 | (code(first(i) + 4) & 15) << 4).collect()
    };
    let upper = |granule: usize| -> Vec<u8> {
        let bits = |i: usize, t: usize| code(granule * 32 + i / 4 * 16 + 4 * t + i % 4) >> 4 << (2 * t);
        (0..8).map(|i| (0..4).fold(0, |all, t| all | bits(i, t))).collect()
    };
    // Row 1 of quad 1; of granule g the fields g % 2 · 4 + 1 of step g / 2.
    let place = |granule: usize, bytes: usize| {
        let (step, at) = (granule / 2, (granule % 2 * 4 + 1) * bytes);
        step * (8 * bytes / 16) * 128 + unit_of_quad_1(at / 16) + at % 16
    };
    let fields = |bytes: usize, of: &dyn Fn(usize) -> Vec<u8>| -> Vec<(usize, Vec<u8>)> {
        (0..8).map(|granule| (place(granule, bytes), of(granule))).collect()
    };
    let scales = |granule: usize| vec![2 * granule as u8 + 1, 2 * granule as u8 + 2];
    let planes =
        [fields(16, &low), fields(2, &scales), vec![(unit_of_quad_1(0) + 4, vec![0x11, 0x22])], fields(8, &upper)];
    let planes =
        planes.each_ref().map(|fields| fields.iter().map(|(at, bytes)| (*at, bytes.as_slice())).collect::<Vec<_>>());
    check_places(DType::Q6_K, &block, 1, &planes.each_ref().map(Vec::as_slice));
}

#[test]
fn layouts_count_units() {
    let layout = |dtype, rows, cols| {
        let layout = PlaneLayout::new(dtype, rows, cols).unwrap();
        (layout.planes, layout.n_bytes())
    };
    // Rows come in tiles of 32, columns in steps of 64.
    assert_eq!(layout(DType::F32, 3, 33), ([0; 4], 32 * 64 * 4));
    assert_eq!(layout(DType::F16, 33, 64), ([0; 4], 64 * 64 * 2));
    assert_eq!(layout(DType::Q4_0, 3, 32), ([0, 64, 0, 0], 32 * (2 * 16 + 2 * 2)));
    assert_eq!(layout(DType::Q8_0, 32, 128), ([0, 256, 0, 0], 32 * (128 + 4 * 2)));
    assert_eq!(layout(DType::Q5_0, 32, 64), ([0, 64, 72, 0], 32 * (32 + 4 + 8)));
    assert_eq!(layout(DType::Q5_1, 32, 64), ([0, 64, 80, 0], 32 * (32 + 8 + 8)));
    // A K block: 128 bytes of codes, 16 of scales, 4 of factors, (32 of fifth bits,) or 64 of upper bits.
    assert_eq!(layout(DType::Q4_K, 32, 512), ([0, 512, 576, 0], 32 * 2 * 148));
    assert_eq!(layout(DType::Q5_K, 32, 256), ([0, 256, 288, 296], 32 * 180));
    assert_eq!(layout(DType::Q6_K, 32, 256), ([0, 256, 288, 296], 32 * 212));
    assert_eq!(layout(DType::Q2_K, 32, 256), ([0, 128, 160, 0], 32 * 84));
    assert_eq!(layout(DType::Q3_K, 32, 256), ([0, 128, 160, 168], 32 * 116));
    assert_eq!(layout(DType::IQ4_XS, 32, 256), ([0, 256, 272, 0], 32 * 140));
    assert_eq!(layout(DType::IQ4_NL, 32, 64), ([0, 64, 0, 0], 32 * 36));
    assert_eq!(layout(DType::MXFP4, 32, 64), ([0, 64, 0, 0], 32 * 36));
    assert_eq!(layout(DType::Q4_1, 32, 64), ([0, 64, 0, 0], 32 * 40));
    let chunk = PlaneLayout::new(DType::Q6_K, 96, 256).unwrap().chunk(64);
    assert_eq!(chunk, [64 * 128, 96 * 128 + 64 * 16, 96 * 144 + 64 * 4, 96 * 148 + 64 * 64]);
}

#[test]
fn quads_of_halves_take_two_rows_of_each() {
    let order = RowOrder::Halves { block: 8 };
    assert_eq!(
        (0..16).map(|row| order.file_row(row)).collect::<Vec<_>>(),
        [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    );
    let rows: Vec<f32> = (0..8 * 2).map(|i| i as f32).collect();
    let planes = repack(DType::F32, 2, bytemuck::cast_slice(&rows), order).concat();
    let layout = PlaneLayout::new(DType::F32, 8, 2).unwrap();
    let found: Vec<f32> = unpack(&layout, &planes).chunks(2).map(|row| row[0] / 2.0).collect();
    assert_eq!(found, [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
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
        let parts = repack(layout.dtype, layout.cols as usize, rows, RowOrder::AsFiled);
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
    (prop::sample::select(dtypes), 1u64..100, 1u64..150, 1u64..4, any::<u64>()).prop_map(
        |(dtype, rows, n, steps, seed)| {
            let cols = if dtype.block_len() == 1 { n } else { (n % 5 + 1) * dtype.block_len() as u64 };
            (dtype, rows, cols, steps * TILE_ROWS, seed)
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
        return blocks::quantize(dtype, &weights, None).unwrap();
    }
    let scales: &[usize] = match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        DType::MXFP4 => &[],
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
        for step in [step, rows.next_multiple_of(TILE_ROWS)] {
            let buffer = pack(&layout, &bytes, step);
            prop_assert_eq!(bits(&unpack(&layout, &buffer)), wanted.clone());
        }
    }
}
