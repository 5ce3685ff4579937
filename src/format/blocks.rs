//! File blocks to f32 and back: one place per quantized format, bit for bit as PyPI's `gguf` computes them.
//! The oracle of every weight kernel. Holds nothing of how weights lie on the GPU: that is `planes`.

use super::DType;
use crate::error::{Error, Result};
use half::{bf16, f16};

/// Weights of a K-type block.
pub(crate) const K_BLOCK: usize = 256;

/// The f32 weights of whole blocks, in file order. Bytes after the last whole block are ignored.
pub fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let n_blocks = bytes.len() / dtype.block_bytes();
    let mut out = Vec::with_capacity(n_blocks * dtype.block_len());
    let decode_block = match dtype {
        DType::F32 => decode_f32,
        DType::F16 => decode_f16,
        DType::BF16 => decode_bf16,
        DType::Q8_0 => decode_q8_0,
        DType::Q4_0 => decode_q4_0,
        DType::Q5_0 => decode_q5_0,
        DType::Q5_1 => decode_q5_1,
        DType::Q4_K => decode_q4_k,
        DType::Q5_K => decode_q5_k,
        DType::Q6_K => decode_q6_k,
    };
    for block in bytes.chunks_exact(dtype.block_bytes()) {
        decode_block(block, &mut out);
    }
    out
}

/// Index of the first weight whose block holds an infinity or NaN, as a weight, a scale or a minimum. Loading asks this of
/// every byte, so floats are looked at many at a time.
pub fn first_non_finite(dtype: DType, bytes: &[u8]) -> Option<usize> {
    const F16: u16 = 0x7C00;
    match dtype {
        DType::F32 => first_float(bytes.as_chunks().0, |word| u32::from_le_bytes(word) & 0x7F80_0000 == 0x7F80_0000),
        DType::F16 => first_float(bytes.as_chunks().0, |word| u16::from_le_bytes(word) & F16 == F16),
        DType::BF16 => first_float(bytes.as_chunks().0, |word| u16::from_le_bytes(word) & 0x7F80 == 0x7F80),
        DType::Q8_0 | DType::Q4_0 | DType::Q5_0 => first_block(dtype, bytes, &[0]),
        DType::Q5_1 | DType::Q4_K | DType::Q5_K => first_block(dtype, bytes, &[0, 2]),
        DType::Q6_K => first_block(dtype, bytes, &[208]),
    }
}

fn first_float<const N: usize>(floats: &[[u8; N]], is_bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const RUN: usize = 1024;
    // No early end within a run: that is what lets the compiler take many floats at a time.
    let has_bad = |run: &[[u8; N]]| run.iter().fold(false, |bad, word| bad | is_bad(*word));
    let run = floats.chunks(RUN).position(has_bad)? * RUN;
    floats[run..].iter().position(|word| is_bad(*word)).map(|at| run + at)
}

/// `fields` are the places of the f16 scale and minimum in a block.
fn first_block(dtype: DType, bytes: &[u8], fields: &[usize]) -> Option<usize> {
    let is_bad = |block: &[u8]| fields.iter().any(|at| !f16::from_le_bytes([block[*at], block[at + 1]]).is_finite());
    bytes.chunks_exact(dtype.block_bytes()).position(is_bad).map(|at| at * dtype.block_len())
}

/// Rounds weights into blocks. `weights` holds a whole number of blocks; quantized types want finite weights.
pub fn quantize(dtype: DType, weights: &[f32]) -> Result<Vec<u8>> {
    if !weights.len().is_multiple_of(dtype.block_len()) {
        let (name, block) = (dtype.name(), dtype.block_len());
        return Err(Error::invalid(format!("{name} wants a multiple of {block} weights, found {}", weights.len())));
    }
    if dtype.block_len() > 1 && !weights.iter().all(|w| w.is_finite()) {
        return Err(Error::invalid(format!("{} wants finite weights, found an infinity or NaN", dtype.name())));
    }
    let encode_block = match dtype {
        DType::F32 => encode_f32,
        DType::F16 => encode_f16,
        DType::BF16 => encode_bf16,
        DType::Q8_0 => encode_q8_0,
        DType::Q4_0 => encode_q4_0,
        DType::Q5_0 => encode_q5_0,
        DType::Q5_1 => encode_q5_1,
        DType::Q4_K | DType::Q5_K | DType::Q6_K => {
            return Err(Error::unsupported(format!("quantizing to {}", dtype.name())));
        }
    };
    let mut out = Vec::with_capacity(weights.len() / dtype.block_len() * dtype.block_bytes());
    for block in weights.chunks_exact(dtype.block_len()) {
        encode_block(block, &mut out);
    }
    Ok(out)
}

/// The f16 at byte `at` of a block.
pub(crate) fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn decode_f32(block: &[u8], out: &mut Vec<f32>) {
    out.push(f32::from_bits(u32_at(block, 0)));
}

fn decode_f16(block: &[u8], out: &mut Vec<f32>) {
    out.push(f16_at(block, 0));
}

fn decode_bf16(block: &[u8], out: &mut Vec<f32>) {
    out.push(f32::from_bits(u32::from(u16::from_le_bytes([block[0], block[1]])) << 16));
}

fn decode_q8_0(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    out.extend(block[2..34].iter().map(|&q| d * f32::from(q as i8)));
}

/// The 4-bit codes of a legacy block: byte i holds weight i below and weight 16 + i above.
pub(crate) fn codes_4(nibbles: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (i, &byte) in nibbles[..16].iter().enumerate() {
        codes[i] = byte & 15;
        codes[16 + i] = byte >> 4;
    }
    codes
}

/// Adds bit `i` of `fifth` as the fifth bit of code `i`.
fn with_fifth_bits(mut codes: [u8; 32], fifth: u32) -> [u8; 32] {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((fifth >> i & 1) as u8) << 4;
    }
    codes
}

fn decode_q4_0(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    out.extend(codes_4(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
}

fn decode_q5_0(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    let codes = with_fifth_bits(codes_4(&block[6..]), u32_at(block, 2));
    out.extend(codes.map(|q| d * (f32::from(q) - 16.0)));
}

fn decode_q5_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    let codes = with_fifth_bits(codes_4(&block[8..]), u32_at(block, 4));
    out.extend(codes.map(|q| d * f32::from(q) + m));
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
pub(crate) fn codes_q4_k(block: &[u8]) -> [u8; K_BLOCK] {
    std::array::from_fn(|i| block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15)
}

/// The 256 5-bit codes of a Q5_K block: Q4_K's, with bit j of fifth byte l for weight l of sub-block j.
pub(crate) fn codes_q5_k(block: &[u8]) -> [u8; K_BLOCK] {
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

fn decode_q4_k(block: &[u8], out: &mut Vec<f32>) {
    decode_k_scaled(block, &codes_q4_k(block), out);
}

fn decode_q5_k(block: &[u8], out: &mut Vec<f32>) {
    decode_k_scaled(block, &codes_q5_k(block), out);
}

/// The 256 6-bit codes of a Q6_K block: two halves of 128, each four runs of 32.
pub(crate) fn codes_q6_k(block: &[u8]) -> [u8; K_BLOCK] {
    let mut codes = [0; K_BLOCK];
    for (i, code) in codes.iter_mut().enumerate() {
        let (half, run, l) = (i / 128, i / 32 % 4, i % 32);
        let low = block[half * 64 + run % 2 * 32 + l] >> (run / 2 * 4) & 15;
        let high = block[128 + half * 32 + l] >> (run * 2) & 3;
        *code = low | high << 4;
    }
    codes
}

fn decode_q6_k(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 208);
    for (i, code) in codes_q6_k(block).into_iter().enumerate() {
        let scale = f32::from(block[192 + i / 16] as i8);
        out.push(d * scale * (f32::from(code) - 32.0));
    }
}

fn encode_f32(block: &[f32], out: &mut Vec<u8>) {
    out.extend(block[0].to_le_bytes());
}

fn encode_f16(block: &[f32], out: &mut Vec<u8>) {
    out.extend(f16::from_f32(block[0]).to_le_bytes());
}

fn encode_bf16(block: &[f32], out: &mut Vec<u8>) {
    out.extend(bf16::from_f32(block[0]).to_le_bytes());
}

/// 1 / d, and 0 for a block of zeros.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn encode_q8_0(block: &[f32], out: &mut Vec<u8>) {
    let d = block.iter().fold(0.0f32, |max, w| max.max(w.abs())) / 127.0;
    let id = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(block.iter().map(|w| (w * id).round() as i8 as u8));
}

/// The first weight of greatest magnitude, with its sign.
fn extreme(block: &[f32]) -> f32 {
    block.iter().copied().fold(block[0], |max, w| if w.abs() > max.abs() { w } else { max })
}

/// Truncated, as the format's authors round: `offset` is half a step above the zero code.
fn codes_from(block: &[f32], min: f32, id: f32, offset: f32, max_code: u8) -> [u8; 32] {
    let mut codes = [0; 32];
    for (code, w) in codes.iter_mut().zip(block) {
        *code = (((w - min) * id + offset) as u8).min(max_code);
    }
    codes
}

fn push_nibbles(codes: &[u8; 32], out: &mut Vec<u8>) {
    out.extend((0..16).map(|i| codes[i] & 15 | codes[16 + i] << 4));
}

/// Bit i: the fifth bit of code i.
pub(crate) fn fifth_bits(codes: &[u8; 32]) -> u32 {
    codes.iter().enumerate().fold(0, |bits, (i, code)| bits | u32::from(code >> 4 & 1) << i)
}

fn encode_q4_0(block: &[f32], out: &mut Vec<u8>) {
    let d = extreme(block) / -8.0;
    let codes = codes_from(block, 0.0, inverse(d), 8.5, 15);
    out.extend(f16::from_f32(d).to_le_bytes());
    push_nibbles(&codes, out);
}

fn encode_q5_0(block: &[f32], out: &mut Vec<u8>) {
    let d = extreme(block) / -16.0;
    let codes = codes_from(block, 0.0, inverse(d), 16.5, 31);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(fifth_bits(&codes).to_le_bytes());
    push_nibbles(&codes, out);
}

fn encode_q5_1(block: &[f32], out: &mut Vec<u8>) {
    let min = block.iter().copied().fold(f32::INFINITY, f32::min);
    let max = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (max - min) / 31.0;
    let codes = codes_from(block, min, inverse(d), 0.5, 31);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(f16::from_f32(min).to_le_bytes());
    out.extend(fifth_bits(&codes).to_le_bytes());
    push_nibbles(&codes, out);
}
