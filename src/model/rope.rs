//! Rotary angles (arXiv 2104.09864) and the ways they are stretched for longer contexts: linear (arXiv 2306.15595), YaRN
//! (arXiv 2309.00071), Llama 3's. Computed once in f64 on the CPU; the GPU reads a table, so no driver's sine matters.

use crate::error::{Error, Result};

/// How rotations are stretched.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Every angle divided.
    Linear {
        /// By this.
        factor: f64,
    },
    /// The base grows with the context that is reserved (dynamic NTK): by so much that the longest wavelength is divided by what
    /// the context is longer.
    Dynamic {
        /// How much faster than the context.
        factor: f64,
        /// Tokens of context before stretching.
        original_len: f64,
    },
    /// Long wavelengths divided, short ones kept, a ramp between; cosines and sines scaled.
    Yarn(Yarn),
    /// Long wavelengths divided, short ones kept, a ramp between.
    Llama3 {
        /// Long wavelengths are divided by this.
        factor: f64,
        /// Wavelengths over `original_len / low` are long.
        low: f64,
        /// Those under `original_len / high` are short.
        high: f64,
        /// Tokens of context before stretching.
        original_len: f64,
    },
    /// Each frequency divided by its own factor: the `rope_freqs` tensor of a GGUF.
    Factors(Vec<f32>),
    /// Each frequency divided by its own factor, of one list for contexts up to the original length, of another for longer ones;
    /// cosines and sines scaled (LongRoPE, arXiv 2402.13753).
    Long {
        /// Up to the original length.
        short: Vec<f32>,
        /// Beyond it.
        long: Vec<f32>,
        /// Tokens of context before stretching.
        original_len: f64,
        /// What cosines and sines are multiplied by.
        magnitude: f64,
    },
}

/// YaRN's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// Context grows by this.
    pub factor: f64,
    /// From this many tokens.
    pub original_len: f64,
    /// Pairs that turn this often or more over the original context keep their frequency,
    pub beta_fast: f64,
    /// those that turn this often or less are divided.
    pub beta_slow: f64,
    /// What cosines and sines are multiplied by.
    pub magnitude: f64,
    /// Whether the ramp begins and ends at whole pairs.
    pub is_rounded: bool,
}

impl Yarn {
    /// The paper's numbers for a context that grows by `factor` from `original_len` tokens.
    pub fn new(factor: f64, original_len: f64) -> Self {
        let plain = Self { factor, original_len, beta_fast: 32.0, beta_slow: 1.0, magnitude: 1.0, is_rounded: true };
        Self { magnitude: plain.magnitude_by(1.0), ..plain }
    }

    /// What cosines and sines are multiplied by, where a model weighs the paper's logarithm by `mscale`.
    pub fn magnitude_by(&self, mscale: f64) -> f64 {
        if self.factor > 1.0 { 0.1 * mscale * self.factor.ln() + 1.0 } else { 1.0 }
    }

    /// The frequency of pair `i` of `n`, stretched.
    fn stretch(&self, frequency: f64, i: usize, n: usize, theta: f64) -> f64 {
        let pair_of = |turns: f64| n as f64 * (self.original_len / (turns * std::f64::consts::TAU)).ln() / theta.ln();
        let (mut first, mut last) = (pair_of(self.beta_fast), pair_of(self.beta_slow));
        if self.is_rounded {
            (first, last) = (first.floor(), last.ceil());
        }
        let (first, last) = (first.max(0.0), last.min(2.0 * n as f64 - 1.0));
        let ramp = ((i as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
        frequency * ((1.0 - ramp) + ramp / self.factor)
    }
}

fn positive(what: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::invalid(format!("{what} of the rope scaling must be positive, not {value}")))
    }
}

impl Scaling {
    /// Every angle divided by `factor`.
    pub fn linear(factor: f64) -> Result<Self> {
        Ok(Self::Linear { factor: positive("factor", factor)? })
    }

    /// Dynamic NTK from `original_len` tokens on.
    pub fn dynamic(factor: f64, original_len: f64) -> Result<Self> {
        let original_len = positive("original length", original_len)?;
        Ok(Self::Dynamic { factor: positive("factor", factor)?, original_len })
    }

    /// YaRN.
    pub fn yarn(yarn: Yarn) -> Result<Self> {
        positive("factor", yarn.factor)?;
        positive("original length", yarn.original_len)?;
        positive("attention factor", yarn.magnitude)?;
        if !(yarn.beta_slow > 0.0 && yarn.beta_fast > yarn.beta_slow && yarn.beta_fast.is_finite()) {
            let (fast, slow) = (yarn.beta_fast, yarn.beta_slow);
            return Err(Error::invalid(format!("beta_fast {fast} of the rope scaling must be above beta_slow {slow}")));
        }
        Ok(Self::Yarn(yarn))
    }

    /// LongRoPE for a context that grows by `factor` from `original_len` tokens; the paper's magnitude unless another is given.
    pub fn long(
        short: Vec<f32>,
        long: Vec<f32>,
        original_len: f64,
        factor: f64,
        magnitude: Option<f64>,
    ) -> Result<Self> {
        positive("factor", factor)?;
        positive("original length", original_len)?;
        for value in short.iter().chain(&long) {
            positive("factors", (*value).into())?;
        }
        let by_paper = || if factor > 1.0 { (1.0 + factor.ln() / original_len.ln()).sqrt() } else { 1.0 };
        let magnitude = positive("attention factor", magnitude.unwrap_or_else(by_paper))?;
        Ok(Self::Long { short, long, original_len, magnitude })
    }

    /// Llama 3's ramp between the two wavelengths.
    pub fn llama3(factor: f64, low: f64, high: f64, original_len: f64) -> Result<Self> {
        if high <= low {
            return Err(Error::invalid(format!("high_freq_factor {high} must be above low_freq_factor {low}")));
        }
        Ok(Self::Llama3 {
            factor: positive("factor", factor)?,
            low: positive("low_freq_factor", low)?,
            high,
            original_len: positive("original length", original_len)?,
        })
    }

    /// The frequency of pair `i` of `n`, stretched.
    fn stretch(&self, frequency: f64, i: usize, n: usize, theta: f64, context_len: u32) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Factors(factors) => frequency / f64::from(factors[i]),
            Self::Llama3 { factor, low, high, original_len } => {
                let wavelength = std::f64::consts::TAU / frequency;
                let smooth = ((original_len / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                frequency * ((1.0 - smooth) / factor + smooth)
            }
            Self::Yarn(yarn) => yarn.stretch(frequency, i, n, theta),
            Self::Long { short, long, original_len, .. } => {
                let factors = if f64::from(context_len) > *original_len { long } else { short };
                frequency / f64::from(factors[i])
            }
            // By the base: see `base`.
            Self::Dynamic { .. } => frequency,
        }
    }

    /// The base of the wavelengths of `rotated` values, for a context of `context_len`.
    fn base(&self, theta: f64, rotated: u32, context_len: u32) -> f64 {
        match self {
            Self::Dynamic { factor, original_len } if f64::from(context_len) > *original_len => {
                let longer = factor * f64::from(context_len) / original_len - (factor - 1.0);
                theta * longer.powf(f64::from(rotated) / (f64::from(rotated) - 2.0))
            }
            _ => theta,
        }
    }

    /// Pairs that factors are given for, where they are.
    pub fn n_pairs(&self) -> Option<usize> {
        match self {
            Self::Factors(factors) => Some(factors.len()),
            // Lists of two lengths fit nothing.
            Self::Long { short, long, .. } => Some(if short.len() == long.len() { short.len() } else { usize::MAX }),
            _ => None,
        }
    }

    /// What cosines and sines are multiplied by.
    fn magnitude(&self) -> f64 {
        match self {
            Self::Yarn(yarn) => yarn.magnitude,
            Self::Long { magnitude, .. } => *magnitude,
            _ => 1.0,
        }
    }

    /// What the frequency of each pair is divided by: a GGUF's `rope_freqs`, which says all that Llama 3's scaling does.
    pub fn factors(&self, theta: f64, rotated: u32) -> Vec<f32> {
        let n = rotated as usize / 2;
        let frequency = |i: usize| theta.powf(-2.0 * i as f64 / f64::from(rotated));
        (0..n).map(|i| (frequency(i) / self.stretch(frequency(i), i, n, theta, 0)) as f32).collect()
    }

    /// The table `(context_len, rotated / 2)` of (cosine, sine).
    pub fn table(&self, theta: f64, rotated: u32, context_len: u32) -> Vec<[f32; 2]> {
        let n = rotated as usize / 2;
        let theta = self.base(theta, rotated, context_len);
        let frequency = |i: usize| theta.powf(-2.0 * i as f64 / f64::from(rotated));
        let frequencies: Vec<f64> = (0..n).map(|i| self.stretch(frequency(i), i, n, theta, context_len)).collect();
        let magnitude = self.magnitude();
        let angles = (0..context_len).flat_map(|p| frequencies.iter().map(move |f| f64::from(p) * f));
        angles.map(|angle| [(angle.cos() * magnitude) as f32, (angle.sin() * magnitude) as f32]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Scaling;

    #[test]
    fn angles_are_position_over_wavelength() {
        let table = Scaling::None.table(10_000.0, 8, 6);
        let angle = 5.0f64 * 10_000f64.powf(-2.0 / 8.0);
        assert_eq!(table[5 * 4 + 1], [angle.cos() as f32, angle.sin() as f32]);
    }

    #[test]
    fn llama3_keeps_short_wavelengths_and_divides_long_ones() {
        let scaling = Scaling::llama3(8.0, 1.0, 4.0, 8192.0).unwrap();
        assert_eq!(scaling.stretch(1.0, 0, 64, 5e5, 1), 1.0);
        assert_eq!(scaling.stretch(1e-6, 63, 64, 5e5, 1), 1e-6 / 8.0);
        let as_factors = Scaling::Factors(scaling.factors(5e5, 64));
        let (table, wanted) = (as_factors.table(5e5, 64, 100), scaling.table(5e5, 64, 100));
        let is_near = |(a, b): (&[f32; 2], &[f32; 2])| (a[0] - b[0]).abs() < 1e-5 && (a[1] - b[1]).abs() < 1e-5;
        assert!(table.iter().zip(&wanted).all(is_near));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Scaling::linear(0.0).is_err());
        assert!(Scaling::linear(f64::NAN).is_err());
        assert!(Scaling::llama3(8.0, 4.0, 1.0, 8192.0).is_err());
    }
}
