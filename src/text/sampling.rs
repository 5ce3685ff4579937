//! How the next token is chosen: the parameters, their ranges, and the CPU twin of `shaders/sample.wgsl`.

use crate::error::{Error, Result};

/// Parameters of the sampler. The default is greedy.
///
/// Order of work: repetition penalty, temperature, top-k, top-p, min-p, draw. A draw is a hash of (seed, position),
/// so the same request repeats to the bit on one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 is greedy; at most 10.
    pub temperature: f32,
    /// Keep the k most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the fewest tokens whose probabilities reach this sum; in (0, 1], 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as probable as the best; in [0, 1), 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; in (0, 10], 1 is off.
    pub repeat_penalty: f32,
    /// How many recent tokens the penalty looks at.
    pub repeat_last_n: u32,
    /// Seed of the draw.
    pub seed: u32,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repeat_penalty: 1.0, repeat_last_n: 64, seed: 0 }
    }
}

impl SamplingParams {
    /// Refuses values outside their ranges, naming the parameter.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f32, ok: bool, range: &str| {
            if ok { Ok(()) } else { Err(Error::invalid(format!("{name} must be in {range}, not {value}"))) }
        };
        check("temperature", self.temperature, (0.0..=10.0).contains(&self.temperature), "[0, 10]")?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "(0, 1]")?;
        check("min_p", self.min_p, (0.0..1.0).contains(&self.min_p), "[0, 1)")?;
        let penalty = self.repeat_penalty;
        check("repeat_penalty", penalty, penalty > 0.0 && penalty <= 10.0, "(0, 10]")
    }
}

/// A float as an unsigned integer in the same order; NaN above all.
fn key(v: f32) -> u32 {
    let bits = v.to_bits();
    if v.is_nan() {
        u32::MAX
    } else if bits >> 31 == 1 {
        !bits
    } else {
        bits | 0x8000_0000
    }
}

/// PCG output hash (Jarzynski and Olano, JCGT 9(3), 2020).
fn pcg(v: u32) -> u32 {
    let s = v.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let w = ((s >> ((s >> 28) + 4)) ^ s).wrapping_mul(277_803_737);
    (w >> 22) ^ w
}

/// The CPU twin of `sample.wgsl`: the token after `history` by `logits` `(vocab_size)`; none when they hold no number.
pub fn sample(logits: &[f32], history: &[u32], params: &SamplingParams) -> Option<u32> {
    let mut logits = logits.to_vec();
    let recent = history.iter().rev().take(params.repeat_last_n as usize);
    for token in recent.collect::<std::collections::BTreeSet<_>>() {
        if let Some(v) = logits.get_mut(*token as usize) {
            *v = if *v > 0.0 { *v / params.repeat_penalty } else { *v * params.repeat_penalty };
        }
    }
    let best = argmax(logits.iter().copied());
    if !logits[best].is_finite() {
        return None;
    }
    if params.temperature <= 0.0 {
        return Some(best as u32);
    }
    let best = logits[best];
    let probability = |v: f32| ((v - best) / params.temperature).exp();
    let mut sorted = logits.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut cut = f32::NEG_INFINITY;
    if params.top_k > 0 && (params.top_k as usize) < sorted.len() {
        cut = sorted[params.top_k as usize - 1];
    }
    if params.top_p < 1.0 {
        sorted.retain(|v| *v >= cut);
        let wanted = params.top_p * sorted.iter().map(|v| probability(*v)).sum::<f32>();
        let mut mass = 0.0;
        for v in &sorted {
            mass += probability(*v);
            cut = *v;
            if mass >= wanted {
                break;
            }
        }
    }
    let noise = pcg(history.len() as u32 ^ pcg(params.seed));
    let drawn = logits.iter().enumerate().map(|(i, v)| {
        if *v < cut || probability(*v) < params.min_p {
            return f32::NEG_INFINITY;
        }
        let uniform = ((pcg(i as u32 ^ noise) >> 9) as f32 + 0.5) / 8_388_608.0;
        (v - best) / params.temperature - (-uniform.ln()).max(1e-7).ln()
    });
    Some(argmax(drawn) as u32)
}

/// Index of the largest value; the first of equals.
fn argmax(values: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, 0);
    for (i, v) in values.enumerate() {
        if i == 0 || key(v) > best.1 {
            best = (i, key(v));
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::{SamplingParams, sample};

    const LOGITS: [f32; 4] = [0.1, 2.0, 2.0, -1.0];

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        assert_eq!(sample(&LOGITS, &[], &SamplingParams::default()), Some(1));
        assert_eq!(sample(&[1.0, f32::NAN], &[], &SamplingParams::default()), None);
    }

    #[test]
    fn a_penalty_moves_the_choice() {
        let params = SamplingParams { repeat_penalty: 2.0, ..SamplingParams::default() };
        assert_eq!(sample(&LOGITS, &[1, 1], &params), Some(2));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let params = SamplingParams { temperature: 1.0, ..SamplingParams::default() };
        let logits = [3.0f32.ln(), 1.0f32.ln()];
        let n = 4000u32;
        let firsts = (0..n).filter(|seed| sample(&logits, &[], &SamplingParams { seed: *seed, ..params }) == Some(0));
        let share = firsts.count() as f32 / n as f32;
        assert!((share - 0.75).abs() < 0.03, "{share}");
    }

    #[test]
    fn noise_is_finite_for_every_hash() {
        // The largest and the smallest draw: a token that is a million times less likely never wins on noise alone.
        let noise = |draw: u32| -(-((draw as f32 + 0.5) / 8_388_608.0).ln()).max(1e-7).ln();
        assert!(noise(0) > -3.0 && noise((1 << 23) - 1) < 16.2, "{} {}", noise(0), noise((1 << 23) - 1));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (params, name) in [
            (SamplingParams { temperature: f32::NAN, ..SamplingParams::default() }, "temperature"),
            (SamplingParams { temperature: -1.0, ..SamplingParams::default() }, "temperature"),
            (SamplingParams { top_p: 0.0, ..SamplingParams::default() }, "top_p"),
            (SamplingParams { min_p: 1.0, ..SamplingParams::default() }, "min_p"),
            (SamplingParams { repeat_penalty: f32::INFINITY, ..SamplingParams::default() }, "repeat_penalty"),
        ] {
            assert!(params.validate().unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
