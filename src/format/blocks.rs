//! File blocks to f32 and back: one place per quantized format, bit for bit as PyPI's `gguf` computes them.
//! The oracle of every weight kernel. Holds nothing of how weights lie on the GPU: that is `planes`.

mod code_books;
mod fit;
mod k_encode;
mod k_types;
mod legacy;

pub(crate) use code_books::{E2M1, IQ4, half_of_e8m0, scale_iq4_xs, signed};
pub(crate) use k_types::{scale_min, scale_q3_k};
pub(crate) use legacy::bits_of;

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

/// How a type is rounded to.
enum Encoder {
    /// As the format's own reference does, weights alone.
    Plain(fn(&[f32], &mut Vec<u8>)),
    /// With the least error, by how much each weight counts.
    Weighed(fn(&[f32], &[f32], &mut Vec<u8>)),
}

/// Rounds whole rows of weights into blocks. `importance` has a value per column, such as the mean square of what the column is
/// multiplied by: errors count by it, and those of large weights more. Without it, types that PyPI's `gguf` can round to come
/// out as there, bit for bit.
///
/// # Errors
/// `Invalid` for rows that are no whole blocks, for weights that are no finite numbers or too large for the type, and for
/// importance that is no finite number of 0 or more; `Unsupported` for types that Trice only reads.
pub fn quantize(dtype: DType, weights: &[f32], importance: Option<&[f32]>) -> Result<Vec<u8>> {
    check_weights(dtype, weights)?;
    if let Some(importance) = importance {
        check_importance(dtype, weights, importance)?;
    }
    let encoder = encoder(dtype, importance.is_some())?;
    let block_len = dtype.block_len();
    let mut out = Vec::with_capacity(weights.len() / block_len * dtype.block_bytes());
    for (i, block) in weights.chunks_exact(block_len).enumerate() {
        match &encoder {
            Encoder::Plain(encode) => encode(block, &mut out),
            Encoder::Weighed(encode) => {
                let columns = importance.map(|all| &all[i * block_len % all.len()..][..block_len]);
                encode(block, &importance_of(block, columns), &mut out);
            }
        }
    }
    if !dtype.is_float()
        && let Some(at) = first_non_finite(dtype, &out)
    {
        let (name, largest) = (dtype.name(), range_of(&weights[at..at + block_len]));
        return Err(Error::invalid(format!("{name} wants weights that its f16 scales reach, found {largest}")));
    }
    Ok(out)
}

/// Refuses types that Trice only reads.
///
/// # Errors
/// `Unsupported`, naming the type.
pub fn check_quantizes(dtype: DType) -> Result<()> {
    encoder(dtype, false).map(|_| ())
}

fn encoder(dtype: DType, has_importance: bool) -> Result<Encoder> {
    Ok(match (dtype, has_importance) {
        (DType::F32, _) => Encoder::Plain(encode_f32),
        (DType::F16, _) => Encoder::Plain(encode_f16),
        (DType::BF16, _) => Encoder::Plain(encode_bf16),
        (DType::Q8_0, false) => Encoder::Plain(legacy::encode_q8_0),
        (DType::Q4_0, false) => Encoder::Plain(legacy::encode_q4_0),
        (DType::Q4_1, false) => Encoder::Plain(legacy::encode_q4_1),
        (DType::Q5_0, false) => Encoder::Plain(legacy::encode_q5_0),
        (DType::Q5_1, false) => Encoder::Plain(legacy::encode_q5_1),
        (DType::Q8_0, true) => Encoder::Weighed(legacy::encode_q8_0_weighed),
        (DType::Q4_0, true) => Encoder::Weighed(legacy::encode_q4_0_weighed),
        (DType::Q4_1, true) => Encoder::Weighed(legacy::encode_q4_1_weighed),
        (DType::Q5_0, true) => Encoder::Weighed(legacy::encode_q5_0_weighed),
        (DType::Q5_1, true) => Encoder::Weighed(legacy::encode_q5_1_weighed),
        (DType::Q2_K, _) => Encoder::Weighed(k_encode::encode_q2_k),
        (DType::Q3_K, _) => Encoder::Weighed(k_encode::encode_q3_k),
        (DType::Q4_K, _) => Encoder::Weighed(k_encode::encode_q4_k),
        (DType::Q5_K, _) => Encoder::Weighed(k_encode::encode_q5_k),
        (DType::Q6_K, _) => Encoder::Weighed(k_encode::encode_q6_k),
        (DType::IQ4_NL | DType::IQ4_XS | DType::MXFP4, _) => {
            return Err(Error::unsupported(format!("quantizing to {}, which is only read", dtype.name())));
        }
    })
}

fn check_weights(dtype: DType, weights: &[f32]) -> Result<()> {
    let (name, block) = (dtype.name(), dtype.block_len());
    if !weights.len().is_multiple_of(block) {
        return Err(Error::invalid(format!("{name} wants a multiple of {block} weights, found {}", weights.len())));
    }
    match weights.iter().find(|w| !w.is_finite()) {
        Some(found) if !dtype.is_float() => Err(Error::invalid(format!("{name} wants finite weights, found {found}"))),
        _ => Ok(()),
    }
}

fn check_importance(dtype: DType, weights: &[f32], importance: &[f32]) -> Result<()> {
    let (cols, block) = (importance.len(), dtype.block_len());
    if cols == 0 || !cols.is_multiple_of(block) || !weights.len().is_multiple_of(cols) {
        let n = weights.len();
        return Err(Error::invalid(format!(
            "importance of whole rows of {block} wanted, found {cols} for {n} weights"
        )));
    }
    match importance.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
        Some(found) => Err(Error::invalid(format!("importance of 0 or more wanted, found {found}"))),
        None => Ok(()),
    }
}

/// How much each weight of a block counts, about 1 at most: as its column does, and large weights more than small ones. No column
/// counts nothing, since what no calibration text touched may still be used. Perplexities chose both roots (docs/QUANTIZATION.md):
/// with squares as they are, small weights and quiet columns count too little.
fn importance_of(block: &[f32], columns: Option<&[f32]>) -> Vec<f32> {
    const LEAST: f32 = 1e-5;
    let (range, most) = (range_of(block), columns.map_or(1.0, range_of));
    let squares: Vec<f32> = block.iter().map(|x| (x / range).powi(2)).collect();
    let mean = squares.iter().sum::<f32>() / block.len() as f32;
    let column = |i: usize| columns.map_or(1.0, |columns| (columns[i] / most).sqrt());
    let weigh = |(i, square): (usize, &f32)| (column(i) + LEAST) * ((square + mean).sqrt() + LEAST);
    squares.iter().enumerate().map(weigh).collect()
}

/// The greatest magnitude; 1 where all are zeros, so that it divides.
fn range_of(values: &[f32]) -> f32 {
    match values.iter().fold(0.0f32, |most, value| most.max(value.abs())) {
        0.0 => 1.0,
        range => range,
    }
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
