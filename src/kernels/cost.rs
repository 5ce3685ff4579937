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
            let all = rope_append(heads, rope, false).per_column;
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

/// `norm`: RMSNorm, or LayerNorm with its bias; the residual stream added, or not.
pub fn norm(n_values: u32, is_layer: bool, residual: bool) -> Work {
    let (n, residual) = (u64::from(n_values), u64::from(residual));
    let (per_value, n_vectors) = if is_layer { (LAYER_NORM, 2) } else { (RMS_NORM, 1) };
    Work {
        fixed: cost(0, WORD * n * n_vectors, 0),
        per_column: cost((per_value + residual) * n, WORD * n * (1 + residual), WORD * n),
        ..Work::default()
    }
}

/// `gate`: a function and a factor for each of `n_values` outputs.
pub fn gate(n_values: u32) -> Work {
    let n = u64::from(n_values);
    Work { per_column: cost(2 * n, 2 * WORD * n, WORD * n), ..Work::default() }
}

/// `rope_append`: q and k normed, or not, and rotated, k and v stored in the cache's type.
pub fn rope_append(heads: &Heads, rope: Rope, has_norm: bool) -> Work {
    let (q, kv) = (values(heads.n_heads, heads), values(heads.n_kv_heads, heads));
    // A rotation of two values takes four products and two sums, by a cosine and a sine that all heads share.
    let angles = u64::from(rope.rotated(heads.head_dim));
    let normed = if has_norm { RMS_NORM * (q + kv) } else { 0 };
    let flops = normed + 3 * u64::from(heads.n_heads + heads.n_kv_heads) * angles;
    let written = WORD * q + kv_bytes(heads);
    Work { per_column: cost(flops, WORD * (q + 2 * kv + angles), written), ..Work::default() }
}

/// `attention`: for every pair of a column and a position it sees, and every head, a product with k, a softmax, a product
/// with v. Each position's k and v are read once, however many columns and heads see them. A window is not reckoned with: of
/// layers that have one this is more than they do.
pub fn attention(heads: &Heads, has_spans: bool) -> Work {
    let q = values(heads.n_heads, heads);
    let span = if has_spans { 2 * WORD } else { 0 };
    Work {
        per_column: cost(q, WORD * q + span, WORD * q),
        per_position: cost(0, kv_bytes(heads), 0),
        per_pair: cost(4 * q + SOFTMAX * u64::from(heads.n_heads), 0, 0),
        ..Work::default()
    }
}

/// `kv_store`: the largest of each row of k and v, and a factor and a rounding for each value.
pub fn kv_store(heads: &Heads) -> Work {
    let kv = 2 * values(heads.n_kv_heads, heads);
    Work { per_column: cost(3 * kv, WORD * kv, kv_bytes(heads)), ..Work::default() }
}

/// Bytes of keys and values of a position.
fn kv_bytes(heads: &Heads) -> u64 {
    2 * u64::from(heads.n_kv_heads) * heads.kv_type.row_bytes(heads.head_dim)
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

/// `mask`: a bit of every token, and at most its logit.
pub fn mask(vocab_size: u32, n_columns: u32) -> Work {
    let (n, columns) = (u64::from(vocab_size), u64::from(n_columns));
    Work { fixed: cost(0, WORD * columns * n.div_ceil(32), WORD * columns * n), ..Work::default() }
}

/// `nll`: a softmax over the vocabulary per column, of which one value is kept.
pub fn nll(vocab_size: u32) -> Work {
    let n = u64::from(vocab_size);
    Work { per_column: cost(SOFTMAX * n, WORD * (n + 1), WORD), ..Work::default() }
}

/// `lookup`: every id of the text once, compared with the last; drafts written.
pub fn lookup(max_drafts: u32) -> Work {
    Work { fixed: cost(0, 0, WORD * u64::from(max_drafts)), per_position: cost(0, WORD, 0), ..Work::default() }
}

/// `accept`: what was chosen behind each column and what was drafted there; an id written for each.
pub fn accept() -> Work {
    Work { per_column: cost(0, 2 * WORD, WORD), ..Work::default() }
}

/// `adopt`: `n` ids from one history to another.
pub fn adopt(n: u32) -> Work {
    Work { fixed: cost(0, WORD * u64::from(n), WORD * u64::from(n)), ..Work::default() }
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

#[cfg(test)]
mod tests {
    use super::super::attention::KvType;
    use super::*;
    use crate::gpu::work::Extent;

    const Q4_0: Weights = Weights { n_rows: 96, n_cols: 64, dtype: DType::Q4_0 };
    /// Blocks of 32 weights in 18 bytes.
    const Q4_0_BYTES: u64 = 96 * (64 / 32) * 18;

    /// 6 heads of 8 values over 2 of keys and values.
    const HEADS: Heads = Heads { n_heads: 6, n_kv_heads: 2, head_dim: 8, context_len: 100, kv_type: KvType::F16 };

    fn at(work: &Work, position: u64, n_tokens: u64) -> Cost {
        work.evaluate(&Extent::causal(position, n_tokens))
    }

    const PLAIN: End<'static> = End::Plain { activation: false, residual: false };

    #[test]
    fn one_column_reads_the_weights_for_itself() {
        let plain = product(&Q4_0, false, false, PLAIN, ColumnsAtWork::One);
        let wanted = cost(2 * 96 * 64, Q4_0_BYTES + 64 * 4, 96 * 4);
        // The same for a decode step and for the last of a chunk's columns.
        assert_eq!((at(&plain, 7, 1), at(&plain, 0, 128)), (wanted, wanted));
        let end = End::Plain { activation: true, residual: true };
        let flops = 2 * 96 * 64 + 3 * 96 + 4 * 64;
        let read = Q4_0_BYTES + (64 + 64) * 4 + (96 + 96) * 4;
        assert_eq!(at(&product(&Q4_0, true, true, end, ColumnsAtWork::One), 7, 1), cost(flops, read, 96 * 4));
    }

    #[test]
    fn many_columns_read_the_weights_once() {
        let end = End::Plain { activation: false, residual: true };
        let work = product(&Q4_0, false, true, end, ColumnsAtWork::All);
        // A chunk is recorded for 128 columns and run with 5.
        let flops = 5 * (2 * 96 * 64 + 2 * 96);
        assert_eq!(at(&work, 30, 5), cost(flops, Q4_0_BYTES + 96 * 4 + 5 * (64 + 96) * 4, 5 * 96 * 4));
    }

    #[test]
    fn gate_and_up_leave_half_as_many_values() {
        // 48 gates and 48 ups: a function and a factor for each of 48 outputs.
        let work = product(&Q4_0, false, false, End::Gated, ColumnsAtWork::One);
        assert_eq!(at(&work, 0, 1), cost(2 * 96 * 64 + 2 * 48, Q4_0_BYTES + 64 * 4, 48 * 4));
    }

    #[test]
    fn q_k_and_v_are_rotated_and_stored_on_the_way() {
        // 48 rows of q, 16 of k, 16 of v. Rotating 64 values takes 32 pairs × 6; 4 angles of 2 floats; the cache in 2 bytes.
        let weights = Weights { n_rows: 80, ..Q4_0 };
        let work = product(&weights, false, false, End::Qkv(&HEADS, Rope::Neox), ColumnsAtWork::One);
        let read = 80 * (64 / 32) * 18 + 64 * 4 + 8 * 4;
        assert_eq!(at(&work, 9, 1), cost(2 * 80 * 64 + 32 * 6, read, 48 * 4 + 2 * 16 * 2));
    }

    #[test]
    fn formats_differ_in_bytes_alone() {
        for (dtype, n_bytes) in [(DType::F32, 96 * 64 * 4), (DType::F16, 96 * 64 * 2), (DType::Q8_0, 96 * 2 * 34)] {
            let work = product(&Weights { dtype, ..Q4_0 }, false, false, PLAIN, ColumnsAtWork::One);
            assert_eq!(at(&work, 0, 1), cost(2 * 96 * 64, n_bytes + 64 * 4, 96 * 4), "{dtype:?}");
        }
    }

    #[test]
    fn merging_reads_every_part() {
        // 3 parts of 6 heads: 8 sums, a maximum and a total each.
        let n = 3 * 6 * (8 + 2);
        assert_eq!(at(&attention_merge(&HEADS, 3), 9, 2), cost(2 * 2 * n, 2 * 4 * n, 2 * 48 * 4));
    }

    #[test]
    fn embed_reads_a_row_per_column() {
        let row = 2 * 18;
        assert_eq!(at(&embed(&Q4_0, Store::Set, true), 9, 3), cost(0, 3 * (4 + row), 3 * 64 * 4));
        assert_eq!(at(&embed(&Q4_0, Store::Add, true), 9, 3), cost(3 * 64, 3 * (4 + row + 64 * 4), 3 * 64 * 4));
        assert_eq!(at(&embed(&Q4_0, Store::Set, false), 9, 3), Cost::default());
    }

    #[test]
    fn norms_and_gates_touch_every_value() {
        assert_eq!(at(&norm(64, false, false), 0, 3), cost(3 * 4 * 64, 64 * 4 + 3 * 64 * 4, 3 * 64 * 4));
        assert_eq!(at(&norm(64, true, true), 0, 3), cost(3 * 8 * 64, 2 * 64 * 4 + 6 * 64 * 4, 3 * 64 * 4));
        assert_eq!(at(&gate(64), 0, 3), cost(3 * 2 * 64, 3 * 2 * 64 * 4, 3 * 64 * 4));
    }

    #[test]
    fn rope_append_rotates_and_stores() {
        // q 48 values, k and v 16 each; 4 pairs of cosine and sine; the cache in 2 bytes.
        let (read, written) = (48 + 16 + 16, 48 * 4 + 2 * 16 * 2);
        assert_eq!(at(&rope_append(&HEADS, Rope::Neox, false), 9, 1), cost((48 + 16) / 2 * 6, (read + 8) * 4, written));
        let work = rope_append(&Heads { kv_type: KvType::F32, ..HEADS }, Rope::None, false);
        assert_eq!(at(&work, 9, 2), cost(0, 2 * read * 4, 2 * (48 * 4 + 2 * 16 * 4)));
    }

    #[test]
    fn attention_grows_with_what_is_seen() {
        let work = attention(&HEADS, false);
        // A decode step at position 9 sees 10: per head and position 8·2 for the score, 4 for the softmax, 8·2 for the value.
        let flops = 10 * 6 * (16 + 4 + 16) + 48;
        assert_eq!(at(&work, 9, 1), cost(flops, 10 * 2 * 16 * 2 + 48 * 4, 48 * 4));
        // Three columns at positions 9, 10, 11 see 10 + 11 + 12; the cache of 12 is read once.
        let flops = (10 + 11 + 12) * 6 * 36 + 3 * 48;
        assert_eq!(at(&work, 9, 3), cost(flops, 12 * 2 * 16 * 2 + 3 * 48 * 4, 3 * 48 * 4));
    }

    #[test]
    fn attention_of_texts_sees_each_text_alone() {
        let work = attention(&Heads { kv_type: KvType::F32, ..HEADS }, true);
        let flops = (3 * 3 + 5 * 5) * 6 * 36 + 8 * 48;
        let read = 8 * 2 * 16 * 4 + 8 * (48 * 4 + 2 * 4);
        assert_eq!(work.evaluate(&Extent::texts(&[3, 5])), cost(flops, read, 8 * 48 * 4));
    }

    #[test]
    fn pool_reads_every_token_or_one() {
        let texts = Extent::pooled(&[3, 5]);
        let mean = pool(64, Pooling::Mean, Scaling::Raw).evaluate(&texts);
        assert_eq!(mean, cost((8 + 2) * 64, 8 * 64 * 4 + 2 * 8, 2 * 64 * 4));
        let first = pool(64, Pooling::Cls, Scaling::Unit).evaluate(&texts);
        assert_eq!(first, cost(2 * 3 * 64, 2 * (64 * 4 + 8), 2 * 64 * 4));
    }

    #[test]
    fn sample_and_nll_read_the_logits() {
        assert_eq!(at(&sample(1000, ColumnsAtWork::One), 5, 1), cost(1000, 1000 * 4, 4));
        assert_eq!(at(&mask(1000, 2), 5, 1), cost(0, 2 * 32 * 4, 2 * 1000 * 4));
        assert_eq!(at(&nll(1000), 5, 3), cost(3 * 4 * 1000, 3 * (1000 + 1) * 4, 3 * 4));
    }

    #[test]
    fn drafts_cost_a_few_words() {
        // At position 9 with 4 columns: 13 ids are looked through for 3 drafts; 4 choices and 4 drafts make 4 ids.
        assert_eq!(at(&lookup(3), 9, 4), cost(0, 13 * 4, 3 * 4));
        assert_eq!(at(&accept(), 9, 4), cost(0, 4 * 2 * 4, 4 * 4));
        assert_eq!(at(&adopt(3), 9, 1), cost(0, 3 * 4, 3 * 4));
    }

    #[test]
    fn roofs_do_what_they_say() {
        assert_eq!(at(&read(4096), 0, 1), cost(0, 4096, 0));
        assert_eq!(at(&arith(Element::F32, 10), 0, 1), cost(10 * 4 * 2, 0, 0));
        assert_eq!(at(&arith(Element::Dot8, 10), 0, 1), cost(10 * 4 * (4 + 4), 0, 0));
    }
}
