//! A linear head learnt from examples, on an encoder's vectors as they are: softmax regression with a squared penalty, solved by
//! L-BFGS (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5). It is the head that `TextEncoder::load_head` reads.

use super::encoder::TextEncoder;
use super::scores::largest;
use super::{Pooling, Scaling};
use crate::error::{Error, Result};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::{HashMap, VecDeque};

/// One example in so many is held out to find how strongly weights are penalized.
const HELD_OUT: usize = 10;

/// Fewer examples than this are all learnt from, with the strongest penalty.
const MIN_HELD_OUT: usize = 100;

/// Inverse penalties that are tried, the strongest penalty first: each begins where the one before it ended.
const STRENGTHS: [f32; 4] = [1.0, 4.0, 16.0, 64.0];

/// Steps of a fit at most; the gain per step is then far below what held-out examples can tell.
const MAX_STEPS: usize = 100;

/// Steps that L-BFGS remembers.
const MEMORY: usize = 10;

/// A step that lowers the loss by less than this share of it is the last.
const ENOUGH: f64 = 1e-5;

/// A head that was learnt.
#[derive(Clone, Debug)]
pub struct LearntHead {
    /// Names of the classes, sorted.
    pub labels: Vec<String>,
    /// Examples that were learnt from.
    pub n_examples: usize,
    /// How many examples were held out, and how many of them a head learnt from the others got right; none where there were few.
    pub held_out: Option<(usize, usize)>,
    /// `(labels, dim)`.
    weight: Vec<f32>,
    /// `(labels)`.
    bias: Vec<f32>,
}

impl TextEncoder {
    /// Learns a head from texts and the label of each. `on_text` hears how many texts have become vectors.
    ///
    /// # Errors
    /// `Invalid` for fewer than two labels, or texts and labels of different numbers.
    pub async fn learn_head(
        &mut self,
        texts: &[&str],
        labels: &[&str],
        on_text: &mut dyn FnMut(usize),
    ) -> Result<LearntHead> {
        if texts.len() != labels.len() {
            return Err(Error::invalid(format!("{} labels of {} texts", labels.len(), texts.len())));
        }
        let mut names: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        names.sort();
        names.dedup();
        if names.len() < 2 {
            return Err(Error::invalid(format!("two labels or more are wanted to tell apart, found {}", names.len())));
        }
        let numbers: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let classes: Vec<usize> = labels.iter().map(|label| numbers[label]).collect();
        let mut vectors = Vec::new();
        for chunk in texts.chunks(CHUNK) {
            vectors.extend(self.embed(chunk, Some(Pooling::Mean), Scaling::Unit).await?);
            on_text(vectors.len());
        }
        let all = Examples::new(vectors.iter().zip(&classes), names.len());
        let (strength, held_out) = if classes.len() < MIN_HELD_OUT {
            (STRENGTHS[0], None)
        } else {
            let (strength, right) = best_strength(&vectors, &classes, names.len());
            (strength, Some((classes.len().div_ceil(HELD_OUT), right)))
        };
        let mut weights = all.start();
        for step in STRENGTHS.into_iter().take_while(|step| *step <= strength) {
            weights = all.fit(step, weights);
        }
        let bias = weights.split_off(names.len() * all.dim());
        Ok(LearntHead { labels: names, n_examples: texts.len(), held_out, weight: weights, bias })
    }
}

/// Texts that become vectors between two reports.
const CHUNK: usize = 256;

impl LearntHead {
    /// As a safetensors file: `classifier.weight`, `classifier.bias`, and `labels` as a JSON list.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let wrong = |what: String| Error::invalid(format!("a head as safetensors: {what}"));
        let (n, dim) = (self.labels.len(), self.weight.len() / self.labels.len());
        let view = |shape: Vec<usize>, values: &'static str, data| {
            TensorView::new(Dtype::F32, shape, data).map_err(|error| wrong(format!("{values}: {error}")))
        };
        let tensors = [
            ("classifier.weight", view(vec![n, dim], "weight", bytemuck::cast_slice(&self.weight))?),
            ("classifier.bias", view(vec![n], "bias", bytemuck::cast_slice(&self.bias))?),
        ];
        let labels = serde_json::to_string(&self.labels).map_err(|error| wrong(error.to_string()))?;
        serialize(tensors, Some(HashMap::from([("labels".to_owned(), labels)])))
            .map_err(|error| wrong(error.to_string()))
    }
}

/// The strength whose head gets most of the held-out examples right, and how many: of equals the strongest penalty.
fn best_strength(vectors: &[Vec<f32>], classes: &[usize], n_classes: usize) -> (f32, usize) {
    let is_held_out = held_out(classes);
    let examples = |wanted: bool| {
        let all = vectors.iter().zip(classes).zip(&is_held_out);
        Examples::new(all.filter(|(_, is_out)| **is_out == wanted).map(|(example, _)| example), n_classes)
    };
    let (learnt, out) = (examples(false), examples(true));
    let mut weights = learnt.start();
    let mut best = (STRENGTHS[0], 0);
    for strength in STRENGTHS {
        weights = learnt.fit(strength, weights);
        let right = out.n_right(&weights);
        if right > best.1 {
            best = (strength, right);
        }
    }
    best
}

/// Every `HELD_OUT`th example of the list sorted by class: each class gives its share.
fn held_out(classes: &[usize]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|i| classes[*i]);
    let mut is_out = vec![false; classes.len()];
    order.iter().step_by(HELD_OUT).for_each(|i| is_out[*i] = true);
    is_out
}

/// Vectors and their classes.
struct Examples {
    /// `(n, dim)`.
    x: Array2<f32>,
    classes: Vec<usize>,
    n_classes: usize,
}

impl Examples {
    fn new<'a>(examples: impl Iterator<Item = (&'a Vec<f32>, &'a usize)>, n_classes: usize) -> Self {
        let (vectors, classes): (Vec<_>, Vec<_>) = examples.unzip();
        let dim = vectors.first().map_or(0, |vector: &&Vec<f32>| vector.len());
        let x = Array2::from_shape_fn((vectors.len(), dim), |(i, j)| vectors[i][j]);
        Self { x, classes: classes.into_iter().copied().collect(), n_classes }
    }

    fn dim(&self) -> usize {
        self.x.ncols()
    }

    /// Weights `(n_classes, dim)`, then biases `(n_classes)`, all zero.
    fn start(&self) -> Vec<f32> {
        vec![0.0; self.n_classes * (self.dim() + 1)]
    }

    /// x·Wᵀ + b, `(n, n_classes)`.
    fn logits(&self, weights: &[f32]) -> Array2<f32> {
        let (w, bias) = weights.split_at(self.n_classes * self.dim());
        let w = ArrayView2::from_shape((self.n_classes, self.dim()), w)
            .expect("as many weights as classes have dimensions");
        let mut logits = Array2::from_shape_fn((self.classes.len(), self.n_classes), |(_, class)| bias[class]);
        general_mat_mul(1.0, &self.x, &w.t(), 1.0, &mut logits);
        logits
    }

    fn n_right(&self, weights: &[f32]) -> usize {
        let logits = self.logits(weights);
        let rows = logits.rows().into_iter().zip(&self.classes);
        rows.filter(|(row, class)| row.as_slice().map(largest) == Some(**class)).count()
    }

    /// Mean cross-entropy + |W|² / (2·strength·n), and its gradient.
    fn loss(&self, weights: &[f32], strength: f32) -> (f64, Vec<f32>) {
        let (n, n_weights) = (self.classes.len() as f32, self.n_classes * self.dim());
        let mut errors = self.logits(weights);
        let mut loss = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        let (gradient_w, gradient_b) = gradient.split_at_mut(n_weights);
        for (mut row, class) in errors.rows_mut().into_iter().zip(&self.classes) {
            let best = row.fold(f32::NEG_INFINITY, |best, value| best.max(*value));
            let chosen = row[*class] - best;
            row.mapv_inplace(|value| (value - best).exp());
            let sum = row.sum();
            loss += f64::from(sum.ln() - chosen);
            row.mapv_inplace(|value| value / (sum * n));
            row[*class] -= 1.0 / n;
            row.iter().zip(gradient_b.iter_mut()).for_each(|(error, b)| *b += error);
        }
        let shape = (self.n_classes, self.dim());
        let mut by_weight =
            ArrayViewMut2::from_shape(shape, gradient_w).expect("as many weights as classes have dimensions");
        general_mat_mul(1.0, &errors.t(), &self.x, 0.0, &mut by_weight);
        let penalty = 1.0 / (strength * n);
        gradient_w.iter_mut().zip(weights).for_each(|(g, w)| *g += penalty * w);
        let squares = dot(&weights[..n_weights], &weights[..n_weights]);
        (loss / f64::from(n) + 0.5 * f64::from(penalty) * squares, gradient)
    }

    /// The weights of the least loss, from `weights` on.
    fn fit(&self, strength: f32, mut weights: Vec<f32>) -> Vec<f32> {
        let (mut loss, mut gradient) = self.loss(&weights, strength);
        let mut memory = VecDeque::new();
        for _ in 0..MAX_STEPS {
            let direction = descent(&gradient, &memory);
            let slope = dot(&direction, &gradient);
            let Some((next, next_loss, next_gradient)) = self.search(&weights, loss, (&direction, slope), strength)
            else {
                break;
            };
            let pair = Pair::new(difference(&next, &weights), difference(&next_gradient, &gradient));
            memory.extend(pair);
            if memory.len() > MEMORY {
                memory.pop_front();
            }
            let gain = loss - next_loss;
            (weights, loss, gradient) = (next, next_loss, next_gradient);
            if gain < ENOUGH * loss {
                break;
            }
        }
        weights
    }

    /// The first of ever shorter steps along `direction` that lowers the loss as its slope promises (Armijo's condition).
    fn search(
        &self,
        weights: &[f32],
        loss: f64,
        (direction, slope): (&[f32], f64),
        strength: f32,
    ) -> Option<(Vec<f32>, f64, Vec<f32>)> {
        let mut length = 1.0;
        for _ in 0..20 {
            let next: Vec<f32> = weights.iter().zip(direction).map(|(w, d)| w + length * d).collect();
            let (next_loss, gradient) = self.loss(&next, strength);
            if next_loss <= loss + 1e-4 * f64::from(length) * slope {
                return Some((next, next_loss, gradient));
            }
            length *= 0.5;
        }
        None
    }
}

/// A step and what it did to the gradient, with 1 / their product.
struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
    rho: f64,
}

impl Pair {
    /// None where the loss is not convex along the step, as rounding may make it look.
    fn new(step: Vec<f32>, change: Vec<f32>) -> Option<Self> {
        let product = dot(&step, &change);
        (product > 0.0).then(|| Self { step, change, rho: 1.0 / product })
    }
}

/// Where the loss falls, by what earlier steps told of its curvature.
fn descent(gradient: &[f32], memory: &VecDeque<Pair>) -> Vec<f32> {
    let mut direction: Vec<f32> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for Pair { step, change, rho } in memory.iter().rev() {
        let share = rho * dot(step, &direction);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    if let Some(Pair { change, rho, .. }) = memory.back() {
        let scale = 1.0 / (rho * dot(change, change));
        direction.iter_mut().for_each(|d| *d *= scale as f32);
    }
    for (Pair { step, change, rho }, share) in memory.iter().zip(shares.into_iter().rev()) {
        let other = rho * dot(change, &direction);
        add(&mut direction, share - other, step);
    }
    direction
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn add(to: &mut [f32], factor: f64, values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor as f32 * value);
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes around three corners, told apart by a line between each two.
    fn corners() -> (Vec<Vec<f32>>, Vec<usize>) {
        let corner = |i: usize| {
            let noise = |j: usize| ((i * 7919 + j * 104_729) % 101) as f32 / 101.0 - 0.5;
            (0..3).map(|j| f32::from(u8::from(j == i % 3)) + 0.3 * noise(j)).collect()
        };
        (0..60).map(|i| (corner(i), i % 3)).unzip()
    }

    #[test]
    fn corners_are_told_apart() {
        let (vectors, classes) = corners();
        let examples = Examples::new(vectors.iter().zip(&classes), 3);
        let weights = examples.fit(16.0, examples.start());
        assert_eq!(examples.n_right(&weights), 60);
    }

    /// The slope of the loss along every weight, by differences.
    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (vectors, classes) = corners();
        let examples = Examples::new(vectors.iter().zip(&classes), 3);
        let weights: Vec<f32> = (0..12).map(|i| (i as f32 * 0.37).sin()).collect();
        let (_, gradient) = examples.loss(&weights, 4.0);
        for i in 0..weights.len() {
            let at = |step: f32| {
                let mut moved = weights.clone();
                moved[i] += step;
                examples.loss(&moved, 4.0).0
            };
            let slope = (at(0.01) - at(-0.01)) / 0.02;
            assert!((slope - f64::from(gradient[i])).abs() < 1e-3, "{i}: {slope} and {}", gradient[i]);
        }
    }

    #[test]
    fn a_fit_ends_where_the_gradient_does() {
        let (vectors, classes) = corners();
        let examples = Examples::new(vectors.iter().zip(&classes), 3);
        let weights = examples.fit(4.0, examples.start());
        let (_, gradient) = examples.loss(&weights, 4.0);
        assert!(dot(&gradient, &gradient).sqrt() < 1e-2, "{gradient:?}");
    }

    #[test]
    fn each_class_holds_out_its_share() {
        let classes: Vec<usize> = (0..100).map(|i| usize::from(i >= 80)).collect();
        let is_out = held_out(&classes);
        let of = |class| (0..100).filter(|i| classes[*i] == class && is_out[*i]).count();
        assert_eq!((of(0), of(1)), (8, 2));
    }
}
