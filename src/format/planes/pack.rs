//! The fields of a row of file blocks, as planes keep them.

use super::GRANULE;
use crate::format::{DType, blocks};

/// Hands out the fields of a row: `put(plane, granule, bytes)`.
pub(super) fn put_row(dtype: DType, row: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    let per_granule = if dtype.block_len() == 1 { GRANULE } else { 1 } * dtype.block_bytes();
    for (i, block) in row.chunks(per_granule).enumerate() {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => put(0, i, block),
            DType::Q8_0 => {
                put(0, i, &block[2..]);
                put(1, i, &block[..2]);
            }
            DType::Q4_0 | DType::IQ4_NL => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[2..])));
                put(1, i, &block[..2]);
            }
            DType::MXFP4 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[1..])));
                put(1, i, &blocks::half_of_e8m0(block[0]).to_le_bytes()[2..]);
            }
            DType::Q4_1 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[4..])));
                put(1, i, &block[..4]);
            }
            DType::Q5_0 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[6..])));
                put(1, i, &block[..2]);
                put(2, i, &block[2..6]);
            }
            DType::Q5_1 => {
                put(0, i, &pack_nibbles(&blocks::codes_4(&block[8..])));
                put(1, i, &block[..4]);
                put(2, i, &block[4..8]);
            }
            DType::Q2_K => put_q2_k(i, block, put),
            DType::Q3_K => put_q3_k(i, block, put),
            DType::Q4_K | DType::Q5_K => put_k_block(dtype, i, block, put),
            DType::Q6_K => put_q6_k(i, block, put),
            DType::IQ4_XS => put_iq4_xs(i, block, put),
        }
    }
}

fn put_q2_k(i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[80..]);
    for (s, codes) in blocks::codes_2(&block[16..80]).as_chunks::<GRANULE>().0.iter().enumerate() {
        put(0, i * 8 + s, &pack_two_bits(codes, 0));
        put(1, i * 8 + s, &block[2 * s..][..2]);
    }
}

fn put_q3_k(i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[108..]);
    for (s, codes) in blocks::codes_q3_k(block).as_chunks::<GRANULE>().0.iter().enumerate() {
        let scale = |half: usize| blocks::scale_q3_k(&block[96..108], 2 * s + half) as u8;
        put(0, i * 8 + s, &pack_two_bits(codes, 0));
        put(1, i * 8 + s, &[scale(0), scale(1)]);
        put(3, i * 8 + s, &blocks::bits_of(codes, 2).to_le_bytes());
    }
}

/// Q4_K and Q5_K: header, 6-bit scales, (fifth bits,) nibbles.
fn put_k_block(dtype: DType, i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    let codes = if dtype == DType::Q4_K { blocks::codes_q4_k(block) } else { blocks::codes_q5_k(block) };
    put(2, i * 8, &block[..4]);
    for (s, codes) in codes.as_chunks::<GRANULE>().0.iter().enumerate() {
        let (scale, min) = blocks::scale_min(&block[4..16], s);
        put(0, i * 8 + s, &pack_nibbles(codes));
        put(1, i * 8 + s, &[scale, min]);
        if dtype == DType::Q5_K {
            put(3, i * 8 + s, &blocks::bits_of(codes, 4).to_le_bytes());
        }
    }
}

fn put_q6_k(i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[208..]);
    for (s, codes) in blocks::codes_q6_k(block).as_chunks::<GRANULE>().0.iter().enumerate() {
        put(0, i * 8 + s, &pack_nibbles(codes));
        put(1, i * 8 + s, &block[192 + 2 * s..][..2]);
        put(3, i * 8 + s, &pack_two_bits(codes, 4));
    }
}

fn put_iq4_xs(i: usize, block: &[u8], put: &mut dyn FnMut(usize, usize, &[u8])) {
    put(2, i * 8, &block[..2]);
    for half in 0..2 {
        let scales: [u8; 4] = std::array::from_fn(|s| blocks::scale_iq4_xs(block, 4 * half + s) as u8);
        put(1, i * 8 + 4 * half, &scales);
    }
    for (s, codes) in blocks::codes_iq4_xs(block).as_chunks::<GRANULE>().0.iter().enumerate() {
        put(0, i * 8 + s, &pack_nibbles(codes));
    }
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

/// Bits `first` and `first + 1` of 32 codes: byte b of word h holds those of weights 16h + b, + 4, + 8, + 12, lowest first.
fn pack_two_bits(codes: &[u8; GRANULE], first: u32) -> [u8; 8] {
    let mut out = [0; 8];
    for (i, byte) in out.iter_mut().enumerate() {
        let (word, b) = (i / 4, i % 4);
        *byte = (0..4).fold(0, |bits, t| bits | (codes[16 * word + 4 * t + b] >> first & 3) << (2 * t));
    }
    out
}
