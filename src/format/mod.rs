//! File formats: bytes in, a validated header out. The tables every reader shares: tensor types and metadata values.
//! Holds no I/O beyond `Source` and nothing of the GPU.

use std::collections::HashMap;

pub mod adapter;
pub mod blocks;
pub mod checkpoint;
pub mod gguf;
pub mod mix;
mod names;
pub mod planes;
pub mod random;
mod rounded;
pub mod safetensors;
pub mod view;

pub use checkpoint::{Checkpoint, Config};
pub(crate) use names::{is_in_layer, joined};

/// How a tensor's weights are stored in a file. Rows (the innermost dimension) are whole numbers of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the field's own names")]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
    /// 32 weights: f16 scale, 32 × i8.
    Q8_0,
    /// 32 weights: f16 scale, 32 × 4 bit minus 8.
    Q4_0,
    /// 32 weights: f16 scale and minimum, 32 × 4 bit.
    Q4_1,
    /// 32 weights: f16 scale, a fifth bit each, 32 × 4 bit; minus 16.
    Q5_0,
    /// 32 weights: f16 scale and minimum, a fifth bit each, 32 × 4 bit.
    Q5_1,
    /// 256 weights: 16 sub-blocks of 16 with 4-bit scale and minimum, 2-bit codes.
    Q2_K,
    /// 256 weights: 16 sub-blocks of 16 with 6-bit scale, 3-bit codes minus 4.
    Q3_K,
    /// 256 weights: 8 sub-blocks of 32 with 6-bit scale and minimum, 4-bit codes.
    Q4_K,
    /// 256 weights: as Q4_K with a fifth bit each.
    Q5_K,
    /// 256 weights: 16 sub-blocks of 16 with 8-bit scale, 6-bit codes minus 32.
    Q6_K,
    /// 32 weights: f16 scale, 32 × 4 bit that name one of 16 unevenly spaced numbers.
    IQ4_NL,
    /// 256 weights: 8 sub-blocks of 32 with 6-bit scale, codes as in IQ4_NL.
    IQ4_XS,
    /// 32 weights: a power of two as scale, 32 floats of 4 bits.
    MXFP4,
}

/// One row of the table of types: everything that is a number.
struct DTypeFacts {
    dtype: DType,
    name: &'static str,
    gguf_id: u32,
    block_len: u32,
    block_bytes: u32,
}

const DTYPES: &[DTypeFacts] = &[
    DTypeFacts { dtype: DType::F32, name: "F32", gguf_id: 0, block_len: 1, block_bytes: 4 },
    DTypeFacts { dtype: DType::F16, name: "F16", gguf_id: 1, block_len: 1, block_bytes: 2 },
    DTypeFacts { dtype: DType::BF16, name: "BF16", gguf_id: 30, block_len: 1, block_bytes: 2 },
    DTypeFacts { dtype: DType::Q8_0, name: "Q8_0", gguf_id: 8, block_len: 32, block_bytes: 34 },
    DTypeFacts { dtype: DType::Q4_0, name: "Q4_0", gguf_id: 2, block_len: 32, block_bytes: 18 },
    DTypeFacts { dtype: DType::Q4_1, name: "Q4_1", gguf_id: 3, block_len: 32, block_bytes: 20 },
    DTypeFacts { dtype: DType::Q5_0, name: "Q5_0", gguf_id: 6, block_len: 32, block_bytes: 22 },
    DTypeFacts { dtype: DType::Q5_1, name: "Q5_1", gguf_id: 7, block_len: 32, block_bytes: 24 },
    DTypeFacts { dtype: DType::Q2_K, name: "Q2_K", gguf_id: 10, block_len: 256, block_bytes: 84 },
    DTypeFacts { dtype: DType::Q3_K, name: "Q3_K", gguf_id: 11, block_len: 256, block_bytes: 110 },
    DTypeFacts { dtype: DType::Q4_K, name: "Q4_K", gguf_id: 12, block_len: 256, block_bytes: 144 },
    DTypeFacts { dtype: DType::Q5_K, name: "Q5_K", gguf_id: 13, block_len: 256, block_bytes: 176 },
    DTypeFacts { dtype: DType::Q6_K, name: "Q6_K", gguf_id: 14, block_len: 256, block_bytes: 210 },
    DTypeFacts { dtype: DType::IQ4_NL, name: "IQ4_NL", gguf_id: 20, block_len: 32, block_bytes: 18 },
    DTypeFacts { dtype: DType::IQ4_XS, name: "IQ4_XS", gguf_id: 23, block_len: 256, block_bytes: 136 },
    DTypeFacts { dtype: DType::MXFP4, name: "MXFP4", gguf_id: 39, block_len: 32, block_bytes: 17 },
];

impl DType {
    /// Every type Trice reads, in table order.
    pub fn all() -> impl Iterator<Item = Self> {
        DTYPES.iter().map(|facts| facts.dtype)
    }

    fn facts(self) -> &'static DTypeFacts {
        // The enum and the table stand in the same order; a test holds it.
        &DTYPES[self as usize]
    }

    /// The field's name: `Q4_K`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The `weights/` slot file of this type: `q4_k`.
    pub fn slot(self) -> String {
        self.name().to_ascii_lowercase()
    }

    /// Whether weights are floats, not codes in blocks that share a scale.
    pub fn is_float(self) -> bool {
        self.block_len() == 1
    }

    /// Weights per block.
    pub fn block_len(self) -> usize {
        self.facts().block_len as usize
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        self.facts().block_bytes as usize
    }

    /// The type with this id in a GGUF header, if Trice reads it.
    pub fn from_gguf_id(id: u32) -> Option<Self> {
        DTYPES.iter().find(|facts| facts.gguf_id == id).map(|facts| facts.dtype)
    }

    /// The id of this type in a GGUF header.
    pub fn gguf_id(self) -> u32 {
        self.facts().gguf_id
    }

    /// Looks a name up without regard to case: `q4_k`.
    pub fn from_name(name: &str) -> Option<Self> {
        DTYPES.iter().find(|facts| facts.name.eq_ignore_ascii_case(name)).map(|facts| facts.dtype)
    }

    /// Bytes of one row of `len` weights; `None` when `len` is no whole number of blocks or the product overflows.
    pub fn row_bytes(self, len: u64) -> Option<u64> {
        let block = self.block_len() as u64;
        if !len.is_multiple_of(block) {
            return None;
        }
        (len / block).checked_mul(self.block_bytes() as u64)
    }
}

/// A metadata value of a GGUF header. Arrays of numbers are widened; arrays of arrays are refused by the reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    U64(u64),
    /// Any signed integer.
    I64(i64),
    /// f32 or f64.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// UTF-8 text.
    String(String),
    /// Integers of any width.
    Ints(Vec<i64>),
    /// Floats of either width.
    Floats(Vec<f32>),
    /// Truth values.
    Bools(Vec<bool>),
    /// Texts.
    Strings(Vec<String>),
}

/// Metadata by key. Typed look-ups answer `None` for an absent key *or* a value of another kind.
#[derive(Clone, Debug, Default)]
pub struct Metadata(pub HashMap<String, Value>);

impl Metadata {
    /// A non-negative integer of any width.
    pub fn uint(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::U64(value) => Some(*value),
            Value::I64(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A float of either width.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::F64(value) => Some(*value),
            _ => None,
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A text.
    pub fn string(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::String(value) => Some(value),
            _ => None,
        }
    }

    /// A list of texts.
    pub fn strings(&self, key: &str) -> Option<&[String]> {
        match self.0.get(key)? {
            Value::Strings(values) => Some(values),
            _ => None,
        }
    }

    /// A list of integers.
    pub fn ints(&self, key: &str) -> Option<&[i64]> {
        match self.0.get(key)? {
            Value::Ints(values) => Some(values),
            _ => None,
        }
    }

    /// A list of floats.
    pub fn floats(&self, key: &str) -> Option<&[f32]> {
        match self.0.get(key)? {
            Value::Floats(values) => Some(values),
            _ => None,
        }
    }
}

/// A tensor as the header describes it, checked: its bytes lie in the file and are exactly as many as its type needs.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// GGUF's name: `blk.3.attn_q.weight`.
    pub name: String,
    /// How the weights are stored.
    pub dtype: DType,
    /// Row-major, outermost first: `(rows, cols)`.
    pub shape: Vec<u64>,
    /// Which of the checkpoint's files holds it.
    pub file: usize,
    /// First byte in that file.
    pub offset: u64,
    /// Bytes in that file.
    pub n_bytes: u64,
    /// Where its rows stand there.
    pub view: view::View,
}

impl TensorInfo {
    /// Length of a row: the innermost dimension.
    pub fn cols(&self) -> u64 {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Rows: the product of the other dimensions.
    pub fn rows(&self) -> u64 {
        self.shape.iter().rev().skip(1).product()
    }
}

/// Whether the product of any of these dimensions can be computed, even where a zero hides an overflow.
pub(crate) fn shape_fits(shape: &[u64]) -> bool {
    shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim.max(1))).is_some()
}
