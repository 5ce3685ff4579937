//! File blocks to f32 and back: one place per quantized format, bit for bit as PyPI's `gguf` computes them.
//! The oracle of every weight kernel. Holds nothing of how weights lie on the GPU: that is `planes`.

mod code_books;
mod k_types;
mod legacy;

pub(crate) use code_books::{E2M1, IQ4, codes_iq4_xs, half_of_e8m0, scale_iq4_xs, signed};
pub(crate) use k_types::{codes_2, codes_q3_k, codes_q4_k, codes_q5_k, codes_q6_k, scale_min, scale_q3_k};
pub(crate) use legacy::{bits_of, codes_4};

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
        DType::Q8_0 => legacy::decode_q8_0,
        DType::Q4_0 => legacy::decode_q4_0,
        DType::Q4_1 => legacy::decode_q4_1,
        DType::Q5_0 => legacy::decode_q5_0,
        DType::Q5_1 => legacy::decode_q5_1,
        DType::Q2_K => k_types::decode_q2_k,
        DType::Q3_K => k_types::decode_q3_k,
        DType::Q4_K => k_types::decode_q4_k,
        DType::Q5_K => k_types::decode_q5_k,
        DType::Q6_K => k_types::decode_q6_k,
        DType::IQ4_NL => code_books::decode_iq4_nl,
        DType::IQ4_XS => code_books::decode_iq4_xs,
        DType::MXFP4 => code_books::decode_mxfp4,
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
        DType::Q8_0 | DType::Q4_0 | DType::Q5_0 | DType::IQ4_NL | DType::IQ4_XS => first_f16(dtype, bytes, &[0]),
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => first_f16(dtype, bytes, &[0, 2]),
        DType::Q2_K => first_f16(dtype, bytes, &[80, 82]),
        DType::Q3_K => first_f16(dtype, bytes, &[108]),
        DType::Q6_K => first_f16(dtype, bytes, &[208]),
        DType::MXFP4 => first_block(dtype, bytes, |block| block[0] > code_books::MAX_E8M0),
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
fn first_f16(dtype: DType, bytes: &[u8], fields: &[usize]) -> Option<usize> {
    first_block(dtype, bytes, |block| {
        fields.iter().any(|at| !f16::from_le_bytes([block[*at], block[at + 1]]).is_finite())
    })
}

fn first_block(dtype: DType, bytes: &[u8], is_bad: impl Fn(&[u8]) -> bool) -> Option<usize> {
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
        DType::Q8_0 => legacy::encode_q8_0,
        DType::Q4_0 => legacy::encode_q4_0,
        DType::Q4_1 => legacy::encode_q4_1,
        DType::Q5_0 => legacy::encode_q5_0,
        DType::Q5_1 => legacy::encode_q5_1,
        DType::Q2_K
        | DType::Q3_K
        | DType::Q4_K
        | DType::Q5_K
        | DType::Q6_K
        | DType::IQ4_NL
        | DType::IQ4_XS
        | DType::MXFP4 => {
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

fn encode_f32(block: &[f32], out: &mut Vec<u8>) {
    out.extend(block[0].to_le_bytes());
}

fn encode_f16(block: &[f32], out: &mut Vec<u8>) {
    out.extend(f16::from_f32(block[0]).to_le_bytes());
}

fn encode_bf16(block: &[f32], out: &mut Vec<u8>) {
    out.extend(bf16::from_f32(block[0]).to_le_bytes());
}
