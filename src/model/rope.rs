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
    /// Long wavelengths divided, short ones kept, a ramp between; cosines and sines scaled.
    Yarn {
        /// Context grows by this.
        factor: f64,
        /// From this many tokens.
        original_len: f64,
    },
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

    /// YaRN from `original_len` tokens to `factor` times as many.
    pub fn yarn(factor: f64, original_len: u64) -> Result<Self> {
        let original_len = positive("original length", original_len as f64)?;
        Ok(Self::Yarn { factor: positive("factor", factor)?, original_len })
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
    fn stretch(&self, frequency: f64, i: usize, n: usize, theta: f64) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Factors(factors) => frequency / f64::from(factors[i]),
            Self::Llama3 { factor, low, high, original_len } => {
                let wavelength = std::f64::consts::TAU / frequency;
                let smooth = ((original_len / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                frequency * ((1.0 - smooth) / factor + smooth)
            }
            Self::Yarn { factor, original_len } => {
                // Pairs that turn 32 times or more over the original context keep their frequency, those that turn once or
                // less are divided.
                let pair_of =
                    |turns: f64| n as f64 * (original_len / (turns * std::f64::consts::TAU)).ln() / theta.ln();
                let (first, last) = (pair_of(32.0).floor().max(0.0), pair_of(1.0).ceil().min(2.0 * n as f64 - 1.0));
                let ramp = ((i as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
                frequency * ((1.0 - ramp) + ramp / factor)
            }
        }
    }

    /// What cosines and sines are multiplied by.
    fn magnitude(&self) -> f64 {
        match self {
            Self::Yarn { factor, .. } if *factor > 1.0 => 0.1 * factor.ln() + 1.0,
            _ => 1.0,
        }
    }

    /// What the frequency of each pair is divided by: a GGUF's `rope_freqs`, which says all that Llama 3's scaling does.
    pub fn factors(&self, theta: f64, head_dim: u32) -> Vec<f32> {
        let n = head_dim as usize / 2;
        let frequency = |i: usize| theta.powf(-2.0 * i as f64 / f64::from(head_dim));
        (0..n).map(|i| (frequency(i) / self.stretch(frequency(i), i, n, theta)) as f32).collect()
    }

    /// The table `(context_len, head_dim / 2)` of (cosine, sine).
    pub fn table(&self, theta: f64, head_dim: u32, context_len: u32) -> Vec<[f32; 2]> {
        let n = head_dim as usize / 2;
        let frequencies: Vec<f64> =
            (0..n).map(|i| self.stretch(theta.powf(-2.0 * i as f64 / f64::from(head_dim)), i, n, theta)).collect();
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
        assert_eq!(scaling.stretch(1.0, 0, 64, 5e5), 1.0);
        assert_eq!(scaling.stretch(1e-6, 63, 64, 5e5), 1e-6 / 8.0);
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
