//! Weights to Q2_K … Q6_K: a scale (and minimum) per sub-block by least squares, those rounded to integers of a factor that the
//! block shares, and codes chosen again for what the file can say.

use super::fit::{self, Minima, Weighed, inverse, signed_code, unsigned_code};
use super::{K_BLOCK, range_of};
use half::f16;

/// A block whose sub-blocks have minima: x = d·scale·code − d_min·min.
struct Offset {
    d: f16,
    d_min: f16,
    /// Scale and minimum by sub-block.
    scales: Vec<(u8, u8)>,
    codes: [u8; K_BLOCK],
}

/// A block whose codes are signed: x = d·scale·code.
struct Centred {
    d: f16,
    scales: [i8; 16],
    codes: [i8; K_BLOCK],
}

/// `value` as an integer of `min` to `max`, and its neighbours; near 0 where it is no number, as in a block of zeros.
fn neighbours(value: f32, min: f32, max: f32) -> impl Iterator<Item = f32> + Clone {
    let nearest = if value.is_finite() { value.round().clamp(min, max) } else { 0.0 };
    [0.0, -1.0, 1.0].into_iter().map(move |by| nearest + by).filter(move |n| (min..=max).contains(n))
}

/// Rounds with sub-blocks of `sub_len`, codes up to `max_code`, and scales and minima up to `max_scale`.
fn offset(block: &[f32], importance: &[f32], sub_len: usize, max_code: f32, max_scale: f32) -> Offset {
    let range = range_of(block);
    let x: Vec<f32> = block.iter().map(|x| x / range).collect();
    let subs = || x.chunks(sub_len).zip(importance.chunks(sub_len)).map(|(x, importance)| Weighed { x, importance });
    let fits: Vec<(f32, f32)> = subs().map(|sub| fit::scale_and_min(sub, max_code, Minima::NotAboveZero)).collect();
    let largest = fits.iter().fold((0.0f32, 0.0f32), |(s, m), fit| (s.max(fit.0), m.max(-fit.1)));
    let factor = |largest: f32| f16::from_f32(range * largest / max_scale);
    let (d, d_min) = (factor(largest.0), factor(largest.1));
    let (scale_1, min_1) = (d.to_f32() / range, d_min.to_f32() / range);
    let mut out = Offset { d, d_min, scales: Vec::new(), codes: [0; K_BLOCK] };
    for (j, (sub, fit)) in subs().zip(fits).enumerate() {
        let minima = neighbours(-fit.1 / min_1, 0.0, max_scale);
        let all = neighbours(fit.0 / scale_1, 0.0, max_scale).flat_map(|s| minima.clone().map(move |m| (s, m)));
        let (mut least, mut best) = (f32::INFINITY, (0.0, 0.0));
        for (s, m) in all {
            let (scale, min) = (scale_1 * s, min_1 * m);
            let inverse = inverse(scale);
            let error = sub.error(|x| scale * unsigned_code(x + min, inverse, max_code) - min);
            if error < least {
                (least, best) = (error, (s, m));
            }
        }
        out.scales.push((best.0 as u8, best.1 as u8));
        let (min, inverse) = (min_1 * best.1, inverse(scale_1 * best.0));
        for (code, x) in out.codes[j * sub_len..].iter_mut().zip(sub.x) {
            *code = unsigned_code(x + min, inverse, max_code) as u8;
        }
    }
    out
}

/// Rounds with 16 sub-blocks, codes of −`most` to `most` − 1, and scales of −`most_scale` to `most_scale` − 1.
fn centred(block: &[f32], importance: &[f32], most: f32, most_scale: f32) -> Centred {
    let range = range_of(block);
    let x: Vec<f32> = block.iter().map(|x| x / range).collect();
    let subs = || x.chunks(16).zip(importance.chunks(16)).map(|(x, importance)| Weighed { x, importance });
    let fits: Vec<f32> = subs().map(|sub| fit::scale(sub, most)).collect();
    let d = f16::from_f32(range * fit::extreme(&fits) / -most_scale);
    let scale_1 = d.to_f32() / range;
    let mut out = Centred { d, scales: [0; 16], codes: [0; K_BLOCK] };
    for (j, (sub, fit)) in subs().zip(fits).enumerate() {
        let (mut least, mut best) = (f32::INFINITY, 0.0);
        for s in neighbours(fit / scale_1, -most_scale, most_scale - 1.0) {
            let scale = scale_1 * s;
            let inverse = inverse(scale);
            let error = sub.error(|x| scale * signed_code(x, inverse, most));
            if error < least {
                (least, best) = (error, s);
            }
        }
        out.scales[j] = best as i8;
        let inverse = inverse(scale_1 * best);
        for (code, x) in out.codes[16 * j..].iter_mut().zip(sub.x) {
            *code = signed_code(*x, inverse, most) as i8;
        }
    }
    out
}

/// The inverse of `codes_2`, of the lower two bits.
fn push_two_bits(codes: &[u8; K_BLOCK], out: &mut Vec<u8>) {
    let byte =
        |at: usize| (0..4).fold(0, |byte, run| byte | (codes[at / 32 * 128 + 32 * run + at % 32] & 3) << (2 * run));
    out.extend((0..64).map(byte));
}

/// Bit j of byte l: bit `which` of weight l of run j.
fn push_one_bit(codes: &[u8; K_BLOCK], which: u32, out: &mut Vec<u8>) {
    out.extend((0..32).map(|l| (0..8).fold(0, |byte, run| byte | (codes[32 * run + l] >> which & 1) << run)));
}

/// The lower four bits of Q4_K and Q5_K.
fn push_nibbles(codes: &[u8; K_BLOCK], out: &mut Vec<u8>) {
    let byte = |at: usize| {
        let first = at / 32 * 64 + at % 32;
        codes[first] & 15 | codes[first + 32] << 4
    };
    out.extend((0..128).map(byte));
}

/// The inverse of `scale_min`.
fn packed_scales(scales: &[(u8, u8)]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (j, &(scale, min)) in scales.iter().enumerate() {
        if j < 4 {
            packed[j] |= scale;
            packed[j + 4] |= min;
        } else {
            packed[j + 4] |= scale & 15 | min << 4;
            packed[j - 4] |= scale >> 4 << 6;
            packed[j] |= min >> 4 << 6;
        }
    }
    packed
}

pub(super) fn encode_q2_k(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let rounded = offset(block, importance, 16, 3.0, 15.0);
    out.extend(rounded.scales.iter().map(|(scale, min)| scale | min << 4));
    push_two_bits(&rounded.codes, out);
    out.extend(rounded.d.to_le_bytes());
    out.extend(rounded.d_min.to_le_bytes());
}

pub(super) fn encode_q3_k(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let rounded = centred(block, importance, 4.0, 32.0);
    let codes = rounded.codes.map(|code| (code + 4) as u8);
    push_one_bit(&codes, 2, out);
    push_two_bits(&codes, out);
    let mut packed = [0u8; 12];
    for (j, scale) in rounded.scales.map(|scale| (scale + 32) as u8).into_iter().enumerate() {
        packed[j % 8] |= (scale & 15) << (j / 8 * 4);
        packed[8 + j % 4] |= scale >> 4 << (j / 4 * 2);
    }
    out.extend(packed);
    out.extend(rounded.d.to_le_bytes());
}

pub(super) fn encode_q4_k(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let rounded = offset(block, importance, 32, 15.0, 63.0);
    push_offset_head(&rounded, out);
    push_nibbles(&rounded.codes, out);
}

pub(super) fn encode_q5_k(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let rounded = offset(block, importance, 32, 31.0, 63.0);
    push_offset_head(&rounded, out);
    push_one_bit(&rounded.codes, 4, out);
    push_nibbles(&rounded.codes, out);
}

fn push_offset_head(rounded: &Offset, out: &mut Vec<u8>) {
    out.extend(rounded.d.to_le_bytes());
    out.extend(rounded.d_min.to_le_bytes());
    out.extend(packed_scales(&rounded.scales));
}

pub(super) fn encode_q6_k(block: &[f32], importance: &[f32], out: &mut Vec<u8>) {
    let rounded = centred(block, importance, 32.0, 128.0);
    let codes = rounded.codes.map(|code| (code + 32) as u8);
    // Halves of 128, each four runs of 32: byte l of the lower bits holds runs 0 and 2, then 1 and 3.
    for half in codes.chunks_exact(128) {
        out.extend((0..64).map(|l| half[l] & 15 | half[64 + l] << 4));
    }
    for half in codes.chunks_exact(128) {
        out.extend((0..32).map(|l| (0..4).fold(0, |byte, run| byte | half[32 * run + l] >> 4 << (2 * run))));
    }
    out.extend(rounded.scales.map(|scale| scale as u8));
    out.extend(rounded.d.to_le_bytes());
}
