//! What each kernel has to do, from its shapes: one pure function per kernel. Counts are of the mathematics, not of a
//! shader: products at two operations per weight and column, inputs and outputs once. Dequantizing, index arithmetic,
//! padding and what a shader reads again are its own affair: they show as a smaller share of the roof.

use super::attention::{Heads, Rope};
use super::elementwise::{Pooling, Scaling};
use super::matmul::Store;
use super::roof::Element;
use crate::format::DType;
use crate::gpu::work::{Cost, Work};

/// Bytes of an f32 and of a token id.
const WORD: u64 = 4;

/// Operations of a softmax per value: its maximum, a difference, exp, the sum.
const SOFTMAX: u64 = 4;

/// Operations per value of x·w/rms(x): the square and its sum, two factors.
const RMS_NORM: u64 = 4;

/// Operations per value of a LayerNorm: the sum, the centring, the square and its sum, two factors, the shift.
const LAYER_NORM: u64 = 7;

/// Weights `(n_rows, n_cols)` of one type.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Rows.
    pub n_rows: u32,
    /// Weights per row.
    pub n_cols: u32,
    /// How they are stored.
    pub dtype: DType,
}

impl Weights {
    fn n_bytes(&self) -> u64 {
        u64::from(self.n_rows) * self.row_bytes()
    }

    fn row_bytes(&self) -> u64 {
        // Loading has refused rows that are no whole number of blocks.
        self.dtype.row_bytes(self.n_cols.into()).unwrap_or(0)
    }
}

/// What a product does besides multiplying.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// An RMS norm of x first.
    pub norm: bool,
    /// A vector added to the outputs.
    pub bias: bool,
    /// A function of the outputs.
    pub activation: bool,
    /// The residual stream added to the outputs.
    pub residual: bool,
}

fn cost(flops: u64, bytes_read: u64, bytes_written: u64) -> Cost {
    Cost { flops, bytes_read, bytes_written }
}

/// What a product does whatever the number of columns: the weights and the shared vectors.
fn shared_of_product(weights: &Weights, extras: Extras) -> Cost {
    let n_vectors =
        u64::from(extras.norm) * u64::from(weights.n_cols) + u64::from(extras.bias) * u64::from(weights.n_rows);
    cost(0, weights.n_bytes() + WORD * n_vectors, 0)
}

/// What a product does for a column.
fn column_of_product(weights: &Weights, extras: Extras) -> Cost {
    let (rows, cols) = (u64::from(weights.n_rows), u64::from(weights.n_cols));
    let per_output = [extras.bias, extras.activation, extras.residual].into_iter().map(u64::from).sum::<u64>();
    let norm = if extras.norm { RMS_NORM * cols } else { 0 };
    let residual = if extras.residual { rows } else { 0 };
    cost(2 * rows * cols + per_output * rows + norm, WORD * (cols + residual), WORD * rows)
}

/// `matvec`: one column, whatever the step.
pub fn matvec(weights: &Weights, extras: Extras) -> Work {
    Work { fixed: shared_of_product(weights, extras) + column_of_product(weights, extras), ..Work::default() }
}

/// `matmul`: every column of the step.
pub fn matmul(weights: &Weights, extras: Extras) -> Work {
    Work {
        fixed: shared_of_product(weights, extras),
        per_column: column_of_product(weights, extras),
        ..Work::default()
    }
}

/// `embed`: a row per column. A row lies in one part of a split matrix: the first part stands for all.
pub fn embed(weights: &Weights, store: Store, is_first_part: bool) -> Work {
    if !is_first_part {
        return Work::default();
    }
    let cols = u64::from(weights.n_cols);
    let added = if store == Store::Add { cols } else { 0 };
    Work { per_column: cost(added, WORD + weights.row_bytes() + WORD * added, WORD * cols), ..Work::default() }
}

/// `norm`: RMSNorm, or LayerNorm where there is a bias.
pub fn norm(n_values: u32, has_bias: bool) -> Work {
    let n = u64::from(n_values);
    let (per_value, n_vectors) = if has_bias { (LAYER_NORM, 2) } else { (RMS_NORM, 1) };
    Work {
        fixed: cost(0, WORD * n * n_vectors, 0),
        per_column: cost(per_value * n, WORD * n, WORD * n),
        ..Work::default()
    }
}

/// `gate`: a function and a factor for each of `n_values` outputs.
pub fn gate(n_values: u32) -> Work {
    let n = u64::from(n_values);
    Work { per_column: cost(2 * n, 2 * WORD * n, WORD * n), ..Work::default() }
}

/// `rope_append`: q and k rotated, k and v stored in the cache's type.
pub fn rope_append(heads: &Heads, rope: Rope) -> Work {
    let (q, kv) = (values(heads.n_heads, heads), values(heads.n_kv_heads, heads));
    // A rotation of two values takes four products and two sums, by a cosine and a sine that all heads share.
    let (flops, angles) = match rope {
        Rope::None => (0, 0),
        Rope::Interleaved | Rope::Neox => (3 * (q + kv), u64::from(heads.head_dim)),
    };
    let written = WORD * q + heads.kv_type.n_bytes() * 2 * kv;
    Work { per_column: cost(flops, WORD * (q + 2 * kv + angles), written), ..Work::default() }
}

/// `attention`: for every pair of a column and a position it sees, and every head, a product with k, a softmax, a product
/// with v. Each position's k and v are read once, however many columns and heads see them.
pub fn attention(heads: &Heads, has_spans: bool) -> Work {
    let (q, kv) = (values(heads.n_heads, heads), values(heads.n_kv_heads, heads));
    let span = if has_spans { 2 * WORD } else { 0 };
    Work {
        per_column: cost(q, WORD * q + span, WORD * q),
        per_position: cost(0, heads.kv_type.n_bytes() * 2 * kv, 0),
        per_pair: cost(4 * q + SOFTMAX * u64::from(heads.n_heads), 0, 0),
        ..Work::default()
    }
}

fn values(n_heads: u32, heads: &Heads) -> u64 {
    u64::from(n_heads) * u64::from(heads.head_dim)
}

/// `pool`: columns are texts, positions their tokens.
pub fn pool(n_values: u32, pooling: Pooling, scaling: Scaling) -> Work {
    let n = u64::from(n_values);
    let scaled = if scaling == Scaling::Unit { 3 * n } else { 0 };
    let text = |flops, read| cost(flops + scaled, 2 * WORD + read, WORD * n);
    match pooling {
        Pooling::Mean => Work { per_column: text(n, 0), per_position: cost(n, WORD * n, 0), ..Work::default() },
        Pooling::Cls | Pooling::Last => Work { per_column: text(0, WORD * n), ..Work::default() },
    }
}

/// `sample`: the best of the logits. A temperature looks at them many times more, which no bus need see.
pub fn sample(vocab_size: u32) -> Work {
    let n = u64::from(vocab_size);
    Work { fixed: cost(n, WORD * n, WORD), ..Work::default() }
}

/// `nll`: a softmax over the vocabulary per column, of which one value is kept.
pub fn nll(vocab_size: u32) -> Work {
    let n = u64::from(vocab_size);
    Work { per_column: cost(SOFTMAX * n, WORD * (n + 1), WORD), ..Work::default() }
}

/// `read`: all of a buffer of `n_bytes`.
pub fn read(n_bytes: u64) -> Work {
    Work { fixed: cost(0, n_bytes, 0), ..Work::default() }
}

/// `arith`: `n_steps` steps over all threads and chains, each in 4 lanes.
pub fn arith(element: Element, n_steps: u64) -> Work {
    let per_lane = match element {
        Element::F32 | Element::F16 => 2,
        // Four products, and four sums with the lane's own value.
        Element::Dot8 => 8,
    };
    Work { fixed: cost(4 * per_lane * n_steps, 0, 0), ..Work::default() }
}
