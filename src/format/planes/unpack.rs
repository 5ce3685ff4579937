//! Planes back to weights: the CPU twin of the shaders in `weights/`.

use super::{GRANULE, PlaneLayout, QUAD, UNIT, UNIT_STRIDE, n_granules, planes_of};
use crate::format::{DType, blocks};

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
                let mut at = layout.planes[i] as usize * UNIT
                    + plane.row_start(granules, row)
                    + plane.place(row % QUAD, granule);
                for run in bytes.chunks_mut(UNIT) {
                    run.copy_from_slice(&planes[at..at + run.len()]);
                    at += UNIT_STRIDE;
                }
                bytes
            };
            unpack_granule(layout.dtype, granule, &field, &mut out);
        }
        out.truncate(end);
    }
    out
}

/// Appends the 32 weights of a granule, whose fields `field` gives by plane; the granule's own place tells among scales that
/// several granules keep together.
fn unpack_granule(dtype: DType, granule: usize, field: &dyn Fn(usize) -> Vec<u8>, out: &mut Vec<f32>) {
    if dtype.is_float() {
        return out.extend(blocks::dequantize(dtype, &field(0)));
    }
    let codes = unpack_codes(dtype, field);
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => {}
        DType::Q8_0 => centred(codes, blocks::f16_at(&field(1), 0), 0, out),
        DType::Q4_0 => centred(codes, blocks::f16_at(&field(1), 0), 8, out),
        DType::Q5_0 => centred(codes, blocks::f16_at(&field(1), 0), 16, out),
        DType::IQ4_NL => centred(codes, blocks::f16_at(&field(1), 0), 0, out),
        DType::MXFP4 => {
            let scale = field(1);
            centred(codes, f32::from_le_bytes([0, 0, scale[0], scale[1]]), 0, out);
        }
        DType::IQ4_XS => {
            let scale = f32::from(field(1)[granule % 4] as i8);
            centred(codes, blocks::f16_at(&field(2), 0) * scale, 0, out);
        }
        DType::Q4_1 | DType::Q5_1 => {
            let dm = field(1);
            scaled(&codes, blocks::f16_at(&dm, 0), blocks::f16_at(&dm, 2), out);
        }
        DType::Q4_K | DType::Q5_K => {
            let (scales, factors) = (field(1), field(2));
            let (d, m) = (blocks::f16_at(&factors, 0), -blocks::f16_at(&factors, 2));
            scaled(&codes, d * f32::from(scales[0]), m * f32::from(scales[1]), out);
        }
        DType::Q2_K => {
            let (d, m) = (blocks::f16_at(&field(2), 0), -blocks::f16_at(&field(2), 2));
            for (codes, scale) in codes.chunks(16).zip(field(1)) {
                scaled(codes, d * f32::from(scale & 15), m * f32::from(scale >> 4), out);
            }
        }
        DType::Q3_K | DType::Q6_K => {
            let (d, zero) = (blocks::f16_at(&field(2), 0), if dtype == DType::Q3_K { 4 } else { 32 });
            for (codes, scale) in codes.as_chunks::<16>().0.iter().zip(field(1)) {
                centred(*codes, d * f32::from(scale as i8), zero, out);
            }
        }
    }
}

fn scaled(codes: &[i16], d: f32, m: f32, out: &mut Vec<f32>) {
    out.extend(codes.iter().map(|&q| d * f32::from(q) + m));
}

fn centred<const N: usize>(codes: [i16; N], d: f32, zero: i16, out: &mut Vec<f32>) {
    out.extend(codes.map(|q| d * f32::from(q - zero)));
}

/// What a granule's codes stand for, before scales and minima.
fn unpack_codes(dtype: DType, field: &dyn Fn(usize) -> Vec<u8>) -> [i16; GRANULE] {
    let unsigned = |codes: [u8; GRANULE]| codes.map(i16::from);
    let signed = |codes: [i8; GRANULE]| codes.map(i16::from);
    let with = |low: [u8; GRANULE], upper: [u8; GRANULE], shift: u32| {
        unsigned(std::array::from_fn(|i| low[i] | upper[i] << shift))
    };
    match dtype {
        DType::Q8_0 => std::array::from_fn(|i| i16::from(field(0)[i] as i8)),
        DType::Q2_K => unsigned(unpack_two_bits(&field(0))),
        DType::Q3_K => with(unpack_two_bits(&field(0)), unpack_bits(&field(3)), 2),
        DType::Q5_0 | DType::Q5_1 => with(unpack_nibbles(&field(0)), unpack_bits(&field(2)), 4),
        DType::Q5_K => with(unpack_nibbles(&field(0)), unpack_bits(&field(3)), 4),
        DType::Q6_K => with(unpack_nibbles(&field(0)), unpack_two_bits(&field(3)), 4),
        DType::IQ4_NL | DType::IQ4_XS => signed(blocks::signed(unpack_nibbles(&field(0)), &blocks::IQ4)),
        DType::MXFP4 => signed(blocks::signed(unpack_nibbles(&field(0)), &blocks::E2M1)),
        DType::F32 | DType::F16 | DType::BF16 | DType::Q4_0 | DType::Q4_1 | DType::Q4_K => {
            unsigned(unpack_nibbles(&field(0)))
        }
    }
}

/// What `pack::nibbles` made.
fn unpack_nibbles(packed: &[u8]) -> [u8; GRANULE] {
    std::array::from_fn(|i| packed[i / 8 * 4 + i % 4] >> (i % 8 / 4 * 4) & 15)
}

/// What `pack::pairs` made.
fn unpack_two_bits(packed: &[u8]) -> [u8; GRANULE] {
    std::array::from_fn(|i| packed[i / 16 * 4 + i % 4] >> (i % 16 / 4 * 2) & 3)
}

/// A bit of each code.
fn unpack_bits(packed: &[u8]) -> [u8; GRANULE] {
    std::array::from_fn(|i| packed[i / 8] >> (i % 8) & 1)
}
