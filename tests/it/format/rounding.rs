//! What rounding to each type costs: errors of ordinary weights, and weights that are not ordinary.

use crate::common::reference::noise;
use trice::Error;
use trice::format::{DType, blocks};

/// Columns of the weights tested.
const COLS: usize = 512;

/// Weights of a normal distribution: sums of twelve uniform numbers.
fn normal(seed: u64, n: usize) -> Vec<f32> {
    let uniform = noise(seed, 12 * n);
    uniform.chunks(12).map(|twelve| twelve.iter().sum::<f32>() / 2.0).collect()
}

fn round_trip(dtype: DType, weights: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    blocks::dequantize(dtype, &blocks::quantize(dtype, weights, importance).unwrap())
}

/// Σ w·(a − b)² / Σ w·b².
fn nmse(found: &[f32], wanted: &[f32], importance: &[f32]) -> f64 {
    let sum = |of: &dyn Fn(usize) -> f32| {
        (0..wanted.len()).map(|i| f64::from(importance[i % importance.len()]) * f64::from(of(i)).powi(2)).sum::<f64>()
    };
    sum(&|i| found[i] - wanted[i]) / sum(&|i| wanted[i])
}

/// Types that are rounded to, with the error of normal weights: about (range / codes)² / 12, less where scales are many.
const BOUNDS: [(DType, f64); 13] = [
    (DType::Q2_K, 0.085),
    (DType::Q3_K, 0.025),
    (DType::Q4_0, 0.01),
    (DType::Q4_1, 0.008),
    (DType::Q4_K, 0.008),
    (DType::Q5_0, 0.0025),
    (DType::Q5_1, 0.0019),
    (DType::Q5_K, 0.0019),
    (DType::Q6_K, 0.0006),
    (DType::Q8_0, 4e-5),
    (DType::BF16, 4e-6),
    (DType::F16, 6e-8),
    (DType::F32, 0.0),
];

#[test]
fn normal_weights_lose_little() {
    let weights = normal(1, 64 * COLS);
    let all = BOUNDS.map(|(dtype, bound)| {
        let error = nmse(&round_trip(dtype, &weights, None), &weights, &[1.0]);
        (dtype, error, bound)
    });
    println!("{all:?}");
    assert!(all.iter().all(|(_, error, bound)| error <= bound), "{all:?}");
    let error = |dtype| all.iter().find(|(known, ..)| *known == dtype).unwrap().1;
    let by_bits = [DType::Q2_K, DType::Q3_K, DType::Q4_K, DType::Q5_K, DType::Q6_K, DType::Q8_0];
    assert!(by_bits.map(error).is_sorted_by(|a, b| a > b), "more bits, less error: {all:?}");
}

#[test]
fn what_was_rounded_once_loses_next_to_nothing() {
    let weights = normal(2, 8 * COLS);
    for (dtype, bound) in BOUNDS {
        let once = round_trip(dtype, &weights, None);
        let error = nmse(&round_trip(dtype, &once, None), &once, &[1.0]);
        assert!(error <= bound / 4.0, "{}: {error}", dtype.name());
    }
}

#[test]
fn zeros_stay_zeros_and_a_huge_weight_stays_near() {
    let mut huge = normal(3, 2 * COLS);
    huge[300] = 20_000.0;
    huge[301] = -15_000.0;
    for (dtype, _) in BOUNDS {
        assert!(round_trip(dtype, &[0.0; COLS], None).iter().all(|w| *w == 0.0), "{}", dtype.name());
        assert!(round_trip(dtype, &[0.0; COLS], Some(&[1.0; COLS])).iter().all(|w| *w == 0.0), "{}", dtype.name());
        for importance in [None, Some(&[1.0; COLS][..])] {
            let found = round_trip(dtype, &huge, importance);
            let off = found[300] / huge[300] - 1.0;
            assert!(off.abs() < 0.15 && found.iter().all(|w| w.is_finite()), "{}: {}", dtype.name(), found[300]);
            // The next block knows nothing of it.
            let error = nmse(&found[512..], &huge[512..], &[1.0]);
            assert!(error < 0.1, "{}: {error}", dtype.name());
        }
    }
}

#[test]
fn constants_and_subnormal_weights_are_rounded_without_harm() {
    for (dtype, _) in BOUNDS {
        for value in [0.25, -0.25, 1e-6, 1e-30, -1e-40] {
            for importance in [None, Some(&[1.0; COLS][..])] {
                let found = round_trip(dtype, &[value; COLS], importance);
                // Below what scales of 16 bits can say, zero is near.
                let slack = if value.abs() < 1e-5 { 3e-5 } else { 0.02 * value.abs() };
                assert!(found.iter().all(|w| (w - value).abs() <= slack), "{} of {value}: {found:?}", dtype.name());
            }
        }
    }
}

#[test]
fn importance_lowers_the_error_that_it_weighs() {
    let weights = normal(4, 32 * COLS);
    let importance: Vec<f32> = noise(5, COLS).iter().map(|x| (6.0 * x).exp()).collect();
    for (dtype, _) in BOUNDS.into_iter().filter(|(dtype, _)| !dtype.is_float()) {
        let (with, without) = (Some(&importance[..]), None);
        let error = |importance_given| nmse(&round_trip(dtype, &weights, importance_given), &weights, &importance);
        let (with, without) = (error(with), error(without));
        assert!(with < 0.95 * without, "{}: {with} with importance, {without} without", dtype.name());
    }
}

#[test]
fn refuses_what_cannot_be_rounded() {
    let refused = |dtype, weights: &[f32], importance: Option<&[f32]>, fragment: &str| {
        let error = blocks::quantize(dtype, weights, importance).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(fragment), "{error}");
    };
    refused(DType::Q4_K, &[0.0; 128], None, "a multiple of 256 weights");
    refused(DType::Q4_0, &[f32::NAN; 32], None, "wants finite weights, found NaN");
    refused(DType::Q6_K, &[1e30; 256], None, "scales reach");
    refused(DType::Q4_0, &[1e30; 32], Some(&[1.0; 32]), "scales reach");
    refused(DType::Q4_K, &[0.0; 512], Some(&[1.0; 128]), "importance of whole rows of 256");
    refused(DType::Q4_0, &[0.0; 64], Some(&[-1.0; 64]), "importance of 0 or more");
    refused(DType::Q4_0, &[0.0; 64], Some(&[f32::INFINITY; 64]), "importance of 0 or more");
}
