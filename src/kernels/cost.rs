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

/// What becomes of a product's outputs.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A function of each and the residual stream added, or not.
    Plain {
        /// A function of the outputs.
        activation: bool,
        /// The residual stream added to the outputs.
        residual: bool,
    },
    /// Half of them, through a function, gate the other half.
    Gated,
    /// q and k are rotated, k and v stored in the cache's type.
    Qkv(&'a Heads, Rope),
}

/// Which columns of a step a product is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnsAtWork {
    /// One, whatever the step.
    One,
    /// Every column of the step.
    All,
}

fn cost(flops: u64, bytes_read: u64, bytes_written: u64) -> Cost {
    Cost { flops, bytes_read, bytes_written }
}

/// `matvec` and `matmul`: the weights and shared vectors once, the rest for each column. A part of q, k and v takes its share
/// of their rotation.
pub fn product(weights: &Weights, norm: bool, bias: bool, end: End<'_>, columns: ColumnsAtWork) -> Work {
    let (rows, cols) = (u64::from(weights.n_rows), u64::from(weights.n_cols));
    let shared = cost(0, weights.n_bytes() + WORD * (u64::from(norm) * cols + u64::from(bias) * rows), 0);
    let normed = if norm { RMS_NORM * cols } else { 0 };
    let multiplied = cost(2 * rows * cols + normed + u64::from(bias) * rows, WORD * cols, 0);
    let ended = match end {
        End::Plain { activation, residual } => {
            let read = if residual { WORD * rows } else { 0 };
            cost((u64::from(activation) + u64::from(residual)) * rows, read, WORD * rows)
        }
        End::Gated => cost(rows, 0, WORD * rows / 2),
        End::Qkv(heads, rope) => {
            // What `rope_append` does, without reading q, k and v from memory, by this part's share of the rows.
            let all = rope_append(heads, rope).per_column;
            let share = |n: u64| n * rows / u64::from(heads.qkv_rows());
            let read = all.bytes_read - WORD * u64::from(heads.qkv_rows());
            cost(share(all.flops), share(read), share(all.bytes_written))
        }
    };
    match columns {
        ColumnsAtWork::One => Work { fixed: shared + multiplied + ended, ..Work::default() },
        ColumnsAtWork::All => Work { fixed: shared, per_column: multiplied + ended, ..Work::default() },
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

/// `attention_merge`: every part scaled and added.
pub fn attention_merge(heads: &Heads, n_splits: u32) -> Work {
    let q = values(heads.n_heads, heads);
    let parts = u64::from(n_splits) * (q + 2 * u64::from(heads.n_heads));
    Work { per_column: cost(2 * parts, WORD * parts, WORD * q), ..Work::default() }
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
pub fn sample(vocab_size: u32, columns: ColumnsAtWork) -> Work {
    let n = u64::from(vocab_size);
    let each = cost(n, WORD * n, WORD);
    match columns {
        ColumnsAtWork::One => Work { fixed: each, ..Work::default() },
        ColumnsAtWork::All => Work { per_column: each, ..Work::default() },
    }
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
