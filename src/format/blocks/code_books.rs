//! Types whose 4-bit codes stand for numbers that are not evenly spaced: IQ4_NL, IQ4_XS, MXFP4.

use super::legacy::codes_4;
use super::{K_BLOCK, f16_at};

/// What the codes of IQ4_NL and IQ4_XS stand for: closer together where weights are many.
pub(crate) const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// What the codes of MXFP4 stand for: floats of a sign, two bits of exponent and one of mantissa, doubled.
pub(crate) const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The largest scale of MXFP4 with which every code is a finite f32: 12 · 2¹²⁴. The largest of all means NaN.
pub(super) const MAX_E8M0: u8 = 252;

/// The signed numbers that codes stand for.
pub(crate) fn signed<const N: usize>(codes: [u8; N], book: &[i8; 16]) -> [i8; N] {
    codes.map(|code| book[usize::from(code)])
}

pub(super) fn decode_iq4_nl(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    out.extend(signed(codes_4(&block[2..]), &IQ4).map(|q| d * f32::from(q)));
}

/// The 256 codes of an IQ4_XS block: eight sub-blocks as in IQ4_NL.
fn codes_iq4_xs(block: &[u8]) -> [u8; K_BLOCK] {
    std::array::from_fn(|i| block[8 + i / 32 * 16 + i % 16] >> (i / 16 % 2 * 4) & 15)
}

/// The signed scale of sub-block `j` (0..8) of an IQ4_XS block: four bits in bytes 4..8, two in bytes 2..4, minus 32.
pub(crate) fn scale_iq4_xs(block: &[u8], j: usize) -> i8 {
    let low = block[4 + j / 2] >> (j % 2 * 4) & 15;
    let high = block[2 + j / 4] >> (j % 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

pub(super) fn decode_iq4_xs(block: &[u8], out: &mut Vec<f32>) {
    let d = f16_at(block, 0);
    for (j, codes) in signed(codes_iq4_xs(block), &IQ4).chunks_exact(32).enumerate() {
        let d = d * f32::from(scale_iq4_xs(block, j));
        out.extend(codes.iter().map(|&q| d * f32::from(q)));
    }
}

/// Half of the power of two that a byte of exponent stands for, as the codes are doubled: 2^(e − 128). Its 16 lower bits are
/// zero.
pub(crate) fn half_of_e8m0(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 })
}

pub(super) fn decode_mxfp4(block: &[u8], out: &mut Vec<f32>) {
    let d = half_of_e8m0(block[0]);
    out.extend(signed(codes_4(&block[1..]), &E2M1).map(|q| d * f32::from(q)));
}
