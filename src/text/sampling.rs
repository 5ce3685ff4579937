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
