//! Types of 256 weights whose sub-blocks have quantized scales: Q2_K and Q3_K (16 of 16 weights), Q4_K and Q5_K (8 of 32),
//! Q6_K (16 of 16).

use super::{K_BLOCK, f16_at};

/// The 256 codes of two bits of Q2_K and the lower two of Q3_K: two halves of 128, each four runs of 32.
fn codes_2(bytes: &[u8]) -> [u8; K_BLOCK] {
    std::array::from_fn(|i| bytes[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3)
}

pub(super) fn decode_q2_k(block: &[u8], out: &mut Vec<f32>) {
    let (d, d_min) = (f16_at(block, 80), f16_at(block, 82));
    for (&scale, codes) in block[..16].iter().zip(codes_2(&block[16..80]).chunks_exact(16)) {
        let (d, m) = (d * f32::from(scale & 15), d_min * f32::from(scale >> 4));
        out.extend(codes.iter().map(|&code| d * f32::from(code) - m));
    }
}

/// The 256 codes of three bits of a Q3_K block: bit j of byte l of the first 32 is the upper one of weight l of run j.
fn codes_q3_k(block: &[u8]) -> [u8; K_BLOCK] {
    let low = codes_2(&block[32..96]);
    std::array::from_fn(|i| low[i] | (block[i % 32] >> (i / 32) & 1) << 2)
}

/// The signed scale of sub-block `j` (0..16) from the 12 packed bytes of Q3_K: four bits below, two above, minus 32.
pub(crate) fn scale_q3_k(packed: &[u8], j: usize) -> i8 {
    let low = packed[j % 8] >> (j / 8 * 4) & 15;
    let high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

pub(super) fn decode_q3_k(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 108);
    for (j, codes) in codes_q3_k(block).chunks_exact(16).enumerate() {
        let d = d * f32::from(scale_q3_k(&block[96..108], j));
        out.extend(codes.iter().map(|&code| d * (f32::from(code) - 4.0)));
    }
}

/// The 6-bit scale and minimum of sub-block `j` (0..8) from the 12 packed bytes of Q4_K and Q5_K.
pub(crate) fn scale_min(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    }
}

/// The 256 4-bit codes of a Q4_K block: four chunks of 32 bytes, each two sub-blocks.
fn codes_q4_k(block: &[u8]) -> [u8; K_BLOCK] {
    std::array::from_fn(|i| block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15)
}

/// The 256 5-bit codes of a Q5_K block: Q4_K's, with bit j of fifth byte l for weight l of sub-block j.
fn codes_q5_k(block: &[u8]) -> [u8; K_BLOCK] {
    let fifth = |i: usize| block[16 + i % 32] >> (i / 32) & 1;
    std::array::from_fn(|i| block[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15 | fifth(i) << 4)
}

fn decode_k_scaled(block: &[u8], codes: &[u8; K_BLOCK], out: &mut Vec<f32>) {
    let (d, d_min) = (f16_at(block, 0), f16_at(block, 2));
    for (j, codes) in codes.chunks_exact(32).enumerate() {
        let (scale, min) = scale_min(&block[4..16], j);
        let (d, m) = (d * f32::from(scale), d_min * f32::from(min));
        out.extend(codes.iter().map(|&code| d * f32::from(code) - m));
    }
}

pub(super) fn decode_q4_k(block: &[u8], out: &mut Vec<f32>) {
    decode_k_scaled(block, &codes_q4_k(block), out);
}

pub(super) fn decode_q5_k(block: &[u8], out: &mut Vec<f32>) {
    decode_k_scaled(block, &codes_q5_k(block), out);
}

/// The 256 6-bit codes of a Q6_K block: two halves of 128, each four runs of 32.
fn codes_q6_k(block: &[u8]) -> [u8; K_BLOCK] {
    let mut codes = [0; K_BLOCK];
    for (i, code) in codes.iter_mut().enumerate() {
        let (half, run, l) = (i / 128, i / 32 % 4, i % 32);
        let low = block[half * 64 + run % 2 * 32 + l] >> (run / 2 * 4) & 15;
        let high = block[128 + half * 32 + l] >> (run * 2) & 3;
        *code = low | high << 4;
    }
    codes
}

pub(super) fn decode_q6_k(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 208);
    for (i, code) in codes_q6_k(block).into_iter().enumerate() {
        let scale = f32::from(block[192 + i / 16] as i8);
        out.push(d * scale * (f32::from(code) - 32.0));
    }
}
