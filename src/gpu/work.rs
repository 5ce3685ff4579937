//! What a dispatch has to do at the least, whatever the device and the shader: arithmetic, and bytes that must cross the
//! memory bus once. Plain data beside every recorded dispatch; the models of the kernels stand in `kernels::cost`.

use std::iter::Sum;
use std::ops::{Add, Mul};

/// Arithmetic and bytes of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations: an addition and a multiplication count one each, as does a function such as exp.
    pub flops: u64,
    /// Bytes of all inputs, each once.
    pub bytes_read: u64,
    /// Bytes of all outputs, each once.
    pub bytes_written: u64,
}

impl Cost {
    /// Bytes both ways.
    pub fn n_bytes(&self) -> u64 {
        self.bytes_read + self.bytes_written
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
        }
    }
}

impl Mul<u64> for Cost {
    type Output = Self;

    fn mul(self, n: u64) -> Self {
        Self { flops: self.flops * n, bytes_read: self.bytes_read * n, bytes_written: self.bytes_written * n }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// What a run is about: a program is recorded for many columns and runs with as many as the state says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Columns at work: tokens, or texts where a kernel works per text.
    pub n_columns: u64,
    /// Positions that any column sees.
    pub n_positions: u64,
    /// Pairs of a column and a position it sees.
    pub n_pairs: u64,
}

impl Extent {
    /// `n_tokens` tokens at positions from `position`, each seeing all before it and itself.
    pub fn causal(position: u64, n_tokens: u64) -> Self {
        let n_pairs = n_tokens * position + n_tokens * (n_tokens + 1) / 2;
        Self { n_columns: n_tokens, n_positions: position + n_tokens, n_pairs }
    }

    /// Texts of these lengths side by side, each token seeing its own text.
    pub fn texts(lens: &[u64]) -> Self {
        let n_tokens = lens.iter().sum();
        Self { n_columns: n_tokens, n_positions: n_tokens, n_pairs: lens.iter().map(|len| len * len).sum() }
    }

    /// One column per text, made from the tokens of texts of these lengths.
    pub fn pooled(lens: &[u64]) -> Self {
        Self { n_columns: lens.len() as u64, ..Self::texts(lens) }
    }
}

/// The cost of a dispatch as a function of what it is run on: a sum of what grows with nothing, with columns, with
/// positions and with their pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Whatever the run: weights, read once for all columns.
    pub fixed: Cost,
    /// Of each column.
    pub per_column: Cost,
    /// Of each position that is seen, however many columns see it.
    pub per_position: Cost,
    /// Of each pair of a column and a position it sees.
    pub per_pair: Cost,
}

impl Work {
    /// The cost of one run.
    pub fn evaluate(&self, extent: &Extent) -> Cost {
        self.fixed
            + self.per_column * extent.n_columns
            + self.per_position * extent.n_positions
            + self.per_pair * extent.n_pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_step_sees_what_is_before_it() {
        // Positions 5, 6, 7 see 6, 7 and 8 positions.
        assert_eq!(Extent::causal(5, 3), Extent { n_columns: 3, n_positions: 8, n_pairs: 6 + 7 + 8 });
        assert_eq!(Extent::causal(0, 1), Extent { n_columns: 1, n_positions: 1, n_pairs: 1 });
    }

    #[test]
    fn texts_see_themselves() {
        assert_eq!(Extent::texts(&[3, 5]), Extent { n_columns: 8, n_positions: 8, n_pairs: 9 + 25 });
        assert_eq!(Extent::pooled(&[3, 5]), Extent { n_columns: 2, n_positions: 8, n_pairs: 9 + 25 });
    }

    #[test]
    fn work_is_the_sum_of_what_grows() {
        let cost = |flops, bytes_read, bytes_written| Cost { flops, bytes_read, bytes_written };
        let work = Work {
            fixed: cost(1, 2, 3),
            per_column: cost(10, 20, 30),
            per_position: cost(0, 7, 0),
            per_pair: cost(100, 0, 0),
        };
        let found = work.evaluate(&Extent { n_columns: 2, n_positions: 4, n_pairs: 5 });
        assert_eq!(found, cost(1 + 20 + 500, 2 + 40 + 28, 3 + 60));
        assert_eq!(found.n_bytes(), 70 + 63);
    }
}
