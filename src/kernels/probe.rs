//! Products of random weights on a device beside what the CPU finds: what choosing among shaders and checking a device are made of.

use super::matmul::{Activation, Output, Product, Wanted, multiply};
use super::{ColumnsAre, Pass, Place, STATE_BYTES, write_state};
use crate::error::Result;
use crate::format::Checkpoint;
use crate::format::planes::RowOrder;
use crate::gpu::tensor::{Columns, Matrix};
use crate::gpu::{Choices, Gpu, Program};

/// Matrices with a column that each is multiplied by, and the products.
pub(crate) struct Probe {
    layers: Vec<Layer>,
}

struct Layer {
    weights: Matrix,
    x: Vec<f32>,
    wanted: Vec<f64>,
}

impl Probe {
    /// Matrices of `random:MODEL`, each of the tensors named together, and their products by the CPU.
    pub(crate) async fn new(gpu: &Gpu, model: &str, tensors: &[&[&str]]) -> Result<Self> {
        let checkpoint = Checkpoint::random(model)?;
        let mut layers = Vec::new();
        for names in tensors {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let n_cols = crate::gpu::tensor::expect(&checkpoint, &names[0])?.cols() as u32;
            let weights = Matrix::load(gpu, &checkpoint, &names, n_cols, RowOrder::AsFiled, &mut |_| Ok(())).await?;
            let x: Vec<f32> = (0..n_cols).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect();
            let mut wanted = Vec::new();
            for name in &names {
                let rows = checkpoint.read_f32(name).await?;
                let product = |row: &[f32]| row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
                wanted.extend(rows.chunks(n_cols as usize).map(product));
            }
            layers.push(Layer { weights, x, wanted });
        }
        Ok(Self { layers })
    }

    /// Multiplies all by `n_columns` columns with the shaders of `choices`: the program, and the largest of the columns'
    /// errors, squared over the squares of what the CPU found (NMSE).
    pub(crate) async fn run(&self, gpu: &Gpu, choices: Choices, n_columns: u32) -> Result<(Program, f64)> {
        let (state, vectors) = (gpu.uniform("probe state", STATE_BYTES), gpu.buffer("probe vectors", 16)?);
        write_state(gpu, &state, Place::START, n_columns as usize);
        let mut rec = gpu.recording_with(choices);
        let mut results = Vec::new();
        for layer in &self.layers {
            let columns = |n_values| Columns::new(gpu, "probe", n_columns, n_values);
            let (x, y) = (columns(layer.weights.n_cols)?, columns(layer.weights.n_rows)?);
            x.write(gpu, &layer.x.repeat(n_columns as usize));
            let output = Output::Plain { y: &y, activation: Activation::Identity, residual: None };
            let weights = &layer.weights;
            let product = Product { weights, x: &x, wanted: Wanted::All, norm: None, bias: None, output };
            let columns = ColumnsAre::Sequence;
            multiply(&mut Pass { rec: &mut rec, state: &state, columns, vectors: &vectors }, &product);
            results.push(y);
        }
        let program = gpu.program(&rec, &mut |_, _| {}).await?;
        gpu.submit(&program, None)?;
        let mut worst = 0.0;
        for (layer, y) in self.layers.iter().zip(&results) {
            // All columns are the same: a wrong one anywhere shows.
            let found = y.read(gpu, n_columns as usize).await?;
            worst = found.iter().map(|column| nmse(column, &layer.wanted)).fold(worst, larger);
        }
        Ok((program, worst))
    }
}

/// NaN is larger than anything.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Σ (found − wanted)² / Σ wanted².
fn nmse(found: &[f32], wanted: &[f64]) -> f64 {
    let error: f64 = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    error / wanted.iter().map(|b| b * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_or_missing_numbers_show() {
        assert!(nmse(&[1.0, 2.0], &[1.0, 2.0]) <= 0.0);
        assert!(nmse(&[1.0, 2.1], &[1.0, 2.0]) > 1e-3);
        let worst = [0.1, f64::NAN, 0.2].into_iter().fold(0.0, larger);
        assert!(worst.is_nan());
    }
}
