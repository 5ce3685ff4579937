//! The fields of a row of file blocks, as planes keep them. Bits move four bytes at a time, from where the file has them to where the
//! planes do: this is what a load spends its time on beside reading. The innermost functions are inlined always, because the page's module is
//! optimized for size and would call them.

use super::GRANULE;
use crate::format::{DType, blocks};

/// Hands out the fields of a row: `put(plane, granule, bytes)`.
pub(super) fn put_row(dtype: DType, row: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    let per_granule = if dtype.block_len() == 1 { GRANULE } else { 1 } * dtype.block_bytes();
    for (i, block) in row.chunks(per_granule).enumerate() {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => put(0, i, block),
            DType::Q8_0 => {
                put(0, i, &block[2..]);
                put(1, i, &block[..2]);
            }
            DType::Q4_0 | DType::IQ4_NL => {
                put(0, i, &pack_16(&block[2..]));
                put(1, i, &block[..2]);
            }
            DType::MXFP4 => {
                put(0, i, &pack_16(&block[1..]));
                put(1, i, &blocks::half_of_e8m0(block[0]).to_le_bytes()[2..]);
            }
            DType::Q4_1 => {
                put(0, i, &pack_16(&block[4..]));
                put(1, i, &block[..4]);
            }
            DType::Q5_0 => {
                put(0, i, &pack_16(&block[6..]));
                put(1, i, &block[..2]);
                put(2, i, &block[2..6]);
            }
            DType::Q5_1 => {
                put(0, i, &pack_16(&block[8..]));
                put(1, i, &block[..4]);
                put(2, i, &block[4..8]);
            }
            DType::Q2_K => put_q2_k(i, block, put),
            DType::Q3_K => put_q3_k(i, block, put),
            DType::Q4_K => put_k_block(i, block, &block[16..], put),
            DType::Q5_K => {
                put_k_block(i, block, &block[48..], put);
                put_bits(i, &block[16..], put);
            }
            DType::Q6_K => put_q6_k(i, block, put),
            DType::IQ4_XS => put_iq4_xs(i, block, put),
        }
    }
}

fn put_q2_k(i: usize, block: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[80..]);
    put_pairs(0, i, &block[16..], put);
    for (s, scales) in block[..16].chunks_exact(2).enumerate() {
        put(1, i * 8 + s, scales);
    }
}

fn put_q3_k(i: usize, block: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[108..]);
    put_pairs(0, i, &block[32..], put);
    put_bits(i, block, put);
    for s in 0..8 {
        let scale = |half: usize| blocks::scale_q3_k(&block[96..108], 2 * s + half) as u8;
        put(1, i * 8 + s, &[scale(0), scale(1)]);
    }
}

/// Q4_K and Q5_K without its fifth bits: header, 6-bit scales, and `nibbles` of two sub-blocks in each 32 bytes.
fn put_k_block(i: usize, block: &[u8], nibbles: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[..4]);
    for s in 0..8 {
        let (scale, min) = blocks::scale_min(&block[4..16], s);
        put(0, i * 8 + s, &pack_32(&nibbles[s / 2 * 32..], s as u32 % 2 * 4));
        put(1, i * 8 + s, &[scale, min]);
    }
}

/// Two halves of four runs each: lower nibbles in 64 bytes, runs 0 and 1 below, 2 and 3 above; then the upper two bits.
fn put_q6_k(i: usize, block: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[208..]);
    for s in 0..8 {
        let (half, run) = (s / 4, s % 4);
        put(0, i * 8 + s, &pack_32(&block[half * 64 + run % 2 * 32..], run as u32 / 2 * 4));
        put(1, i * 8 + s, &block[192 + 2 * s..][..2]);
    }
    put_pairs(3, i, &block[128..], put);
}

fn put_iq4_xs(i: usize, block: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[..2]);
    for half in 0..2 {
        let scales: [u8; 4] = std::array::from_fn(|s| blocks::scale_iq4_xs(block, 4 * half + s) as u8);
        put(1, i * 8 + 4 * half, &scales);
    }
    for s in 0..8 {
        put(0, i * 8 + s, &pack_16(&block[8 + 16 * s..]));
    }
}

/// The pairs of bits of a block's eight granules: two halves of 32 bytes, each with those of four granules, lowest first.
fn put_pairs(plane: usize, i: usize, pairs: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    for s in 0..8 {
        put(plane, i * 8 + s, &pack_pairs(&pairs[s / 4 * 32..], s as u32 % 4 * 2));
    }
}

/// The single bits of a block's eight granules: bit s of 32 bytes is granule s's.
fn put_bits(i: usize, bytes: &[u8], put: &mut impl FnMut(usize, usize, &[u8])) {
    let Some(bytes) = bytes.first_chunk() else { return };
    for s in 0..8 {
        put(3, i * 8 + s, &blocks::bits_of(bytes, s as u32).to_le_bytes());
    }
}

/// 32 codes of four bits from 16 bytes with the first 16 codes below and the other 16 above.
fn pack_16(bytes: &[u8]) -> [u8; 16] {
    let [a, b, c, d]: [u32; 4] = bytemuck::pod_read_unaligned(&bytes[..16]);
    bytemuck::cast([nibbles(a, b, 0), nibbles(c, d, 0), nibbles(a, b, 4), nibbles(c, d, 4)])
}

/// 32 codes of four bits from 32 bytes, above `shift` bits.
fn pack_32(bytes: &[u8], shift: u32) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h]: [u32; 8] = bytemuck::pod_read_unaligned(&bytes[..32]);
    bytemuck::cast([nibbles(a, b, shift), nibbles(c, d, shift), nibbles(e, f, shift), nibbles(g, h, shift)])
}

/// The nibbles above `shift` bits of four bytes below, those of the next four above: masking a word gives four consecutive weights.
#[inline(always)]
fn nibbles(four: u32, next: u32, shift: u32) -> u32 {
    const MASK: u32 = 0x0F0F_0F0F;
    four >> shift & MASK | (next >> shift & MASK) << 4
}

/// Two bits each of 32 bytes, above `shift` bits.
fn pack_pairs(bytes: &[u8], shift: u32) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h]: [u32; 8] = bytemuck::pod_read_unaligned(&bytes[..32]);
    bytemuck::cast([pairs([a, b, c, d], shift), pairs([e, f, g, h], shift)])
}

/// The two bits above `shift` bits of four bytes lowest, those of the next four above them, and so on.
#[inline(always)]
fn pairs([a, b, c, d]: [u32; 4], shift: u32) -> u32 {
    const MASK: u32 = 0x0303_0303;
    a >> shift & MASK | (b >> shift & MASK) << 2 | (c >> shift & MASK) << 4 | (d >> shift & MASK) << 6
}
