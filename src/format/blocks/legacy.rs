//! Types of 32 weights with one f16 scale (and minimum): Q8_0, Q4_0, Q4_1, Q5_0, Q5_1. Rounded byte for byte as PyPI's `gguf`
//! does, and with the least error where weights count differently.

use super::fit::{self, Minima, Weighed, extreme, inverse, signed_code, unsigned_code};
use super::{f16_at, range_of, u32_at};
use half::f16;

pub(super) fn decode_q8_0(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    out.extend(block[2..34].iter().map(|&q| d * f32::from(q as i8)));
}

/// The 4-bit codes of a block of 32: byte i holds weight i below and weight 16 + i above.
pub(super) fn codes_4(nibbles: &[u8]) -> [u8; 32] {
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

pub(super) fn decode_q4_0(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    out.extend(codes_4(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
}

pub(super) fn decode_q4_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    out.extend(codes_4(&block[4..]).map(|q| d * f32::from(q) + m));
}

pub(super) fn decode_q5_0(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    let codes = with_fifth_bits(codes_4(&block[6..]), u32_at(block, 2));
    out.extend(codes.map(|q| d * (f32::from(q) - 16.0)));
}

pub(super) fn decode_q5_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    let codes = with_fifth_bits(codes_4(&block[8..]), u32_at(block, 4));
    out.extend(codes.map(|q| d * f32::from(q) + m));
}

pub(super) fn encode_q8_0(block: &[f32], out: &mut Vec<u8>) {
    let d = block.iter().fold(0.0f32, |max, w| max.max(w.abs())) / 127.0;
    let id = inverse(d);
    push_f16(d, out);
    out.extend(block.iter().map(|w| (w * id).round() as i8 as u8));
}

/// Truncated, as the format's authors round: `offset` is half a step above the zero code.
fn codes_from(block: &[f32], min: f32, id: f32, offset: f32, max_code: u8) -> [u8; 32] {
    let mut codes = [0; 32];
    for (code, w) in codes.iter_mut().zip(block) {
        *code = (((w - min) * id + offset) as u8).min(max_code);
    }
    codes
}

fn push_f16(value: f32, out: &mut Vec<u8>) {
    out.extend(f16::from_f32(value).to_le_bytes());
}

fn push_nibbles(codes: &[u8; 32], out: &mut Vec<u8>) {
    out.extend((0..16).map(|i| codes[i] & 15 | codes[16 + i] << 4));
}

/// Bit i: bit `which` of code i.
pub(crate) fn bits_of(codes: &[u8; 32], which: u32) -> u32 {
    codes.as_chunks().0.iter().enumerate().fold(0, |bits, (i, four)| {
        // A bit in each byte; the product has all of them side by side on top, and no two others at one place.
        let apart = u32::from_le_bytes(*four) >> which & 0x0101_0101;
        bits | apart.wrapping_mul(0x1020_4080) >> 28 << (4 * i)
    })
}

pub(super) fn encode_q4_0(block: &[f32], out: &mut Vec<u8>) {
    let d = extreme(block) / -8.0;
    let codes = codes_from(block, 0.0, inverse(d), 8.5, 15);
    push_f16(d, out);
    push_nibbles(&codes, out);
}

pub(super) fn encode_q5_0(block: &[f32], out: &mut Vec<u8>) {
    let d = extreme(block) / -16.0;
    let codes = codes_from(block, 0.0, inverse(d), 16.5, 31);
    push_f16(d, out);
    out.extend(bits_of(&codes, 4).to_le_bytes());
    push_nibbles(&codes, out);
}

/// The smallest weight, and the step that spreads `max_code` of them over the block.
fn min_and_step(block: &[f32], max_code: u8) -> (f32, f32) {
    let min = block.iter().copied().fold(f32::INFINITY, f32::min);
    let max = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (min, (max - min) / f32::from(max_code))
}

pub(super) fn encode_q4_1(block: &[f32], out: &mut Vec<u8>) {
    let (min, d) = min_and_step(block, 15);
    let codes = codes_from(block, min, inverse(d), 0.5, 15);
    push_f16(d, out);
    push_f16(min, out);
    push_nibbles(&codes, out);
}

pub(super) fn encode_q5_1(block: &[f32], out: &mut Vec<u8>) {
    let (min, d) = min_and_step(block, 31);
    let codes = codes_from(block, min, inverse(d), 0.5, 31);
    push_f16(d, out);
    push_f16(min, out);
    out.extend(bits_of(&codes, 4).to_le_bytes());
    push_nibbles(&codes, out);
}

/// The f16 scale, and codes of −`most` to `most` − 1.
fn centred(block: &[f32], importance: &[f32], most: f32) -> (f16, [f32; 32]) {
    let range = range_of(block);
    let x: Vec<f32> = block.iter().map(|x| x / range).collect();
    let d = f16::from_f32(range * fit::scale(Weighed { x: &x, importance }, most));
    let inverse = inverse(d.to_f32());
    (d, std::array::from_fn(|i| signed_code(block[i], inverse, most)))
}

/// The f16 scale and minimum, and codes of 0 to `max_code`.
fn offset(block: &[f32], importance: &[f32], max_code: f32) -> (f16, f16, [u8; 32]) {
    let range = range_of(block);
    let x: Vec<f32> = block.iter().map(|x| x / range).collect();
    let (scale, min) = fit::scale_and_min(Weighed { x: &x, importance }, max_code, Minima::Any);
    let (d, m) = (f16::from_f32(range * scale), f16::from_f32(range * min));
    let inverse = inverse(d.to_f32());
    (d, m, std::array::from_fn(|i| unsigned_code(block[i] - m.to_f32(), inverse, max_code) as u8))
}

pub(super) fn encode_q8_0_weighed(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let (d, codes) = centred(block, importance, 128.0);
    out.extend(d.to_le_bytes());
    out.extend(codes.map(|code| code as i8 as u8));
}

pub(super) fn encode_q4_0_weighed(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let (d, codes) = centred(block, importance, 8.0);
    out.extend(d.to_le_bytes());
    push_nibbles(&codes.map(|code| (code + 8.0) as u8), out);
}

pub(super) fn encode_q5_0_weighed(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let (d, codes) = centred(block, importance, 16.0);
    let codes = codes.map(|code| (code + 16.0) as u8);
    out.extend(d.to_le_bytes());
    out.extend(bits_of(&codes, 4).to_le_bytes());
    push_nibbles(&codes, out);
}

pub(super) fn encode_q4_1_weighed(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let (d, m, codes) = offset(block, importance, 15.0);
    out.extend(d.to_le_bytes());
    out.extend(m.to_le_bytes());
    push_nibbles(&codes, out);
}

pub(super) fn encode_q5_1_weighed(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let (d, m, codes) = offset(block, importance, 31.0);
    out.extend(d.to_le_bytes());
    out.extend(m.to_le_bytes());
    out.extend(bits_of(&codes, 4).to_le_bytes());
    push_nibbles(&codes, out);
}
