//! From a head's outputs to scores.

/// Probabilities of classes of which one holds.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|logit| (logit - best).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// The probability of something that may hold by itself.
pub(super) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Where the largest value stands, the first of equals; 0 where there is none.
pub(super) fn largest(values: &[f32]) -> usize {
    let later = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, later)
}

/// The mean of `rows`, each counting as often as its weight says.
pub(super) fn weighted_mean(rows: impl Iterator<Item = (Vec<f32>, usize)>) -> Vec<f32> {
    let (mut sums, mut n) = (Vec::new(), 0.0);
    for (row, weight) in rows {
        let weight = weight as f32;
        sums.resize(row.len(), 0.0);
        sums.iter_mut().zip(&row).for_each(|(sum, value)| *sum += weight * value);
        n += weight;
    }
    sums.into_iter().map(|sum| sum / n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one() {
        let sum: f32 = softmax(&[1000.0, 999.0, -1000.0]).iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_first_of_equals_is_the_largest() {
        assert_eq!(largest(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(largest(&[]), 0);
    }

    #[test]
    fn rows_count_by_their_weights() {
        let rows = [(vec![1.0, 0.0], 3), (vec![0.0, 4.0], 1)];
        assert_eq!(weighted_mean(rows.into_iter()), [0.75, 1.0]);
    }
}
