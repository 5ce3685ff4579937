//! Attention and what leads to it: `rope_append.wgsl` (rotate, append to the cache) and `attention.wgsl`.

use super::{Pass, WORKGROUP, cost, groups_for};
use crate::gpu::Buffer;
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::tensor::Columns;

/// Rotates q and k and appends k and v to the cache.
pub static ROPE_APPEND: Kernel = Kernel {
    name: "rope_append",
    source: include_str!("../../shaders/rope_append.wgsl"),
    params: RopeAppendParams::LAYOUT,
    bindings: &[Access::Uniform, Access::Read, Access::Read, Access::ReadWrite, Access::ReadWrite, Access::ReadWrite],
};

/// Softmax attention over the cache.
pub static ATTENTION: Kernel = Kernel {
    name: "attention",
    source: include_str!("../../shaders/attention.wgsl"),
    params: AttentionParams::LAYOUT,
    bindings: &[Access::Uniform, Access::Read, Access::Read, Access::Read, Access::Read, Access::ReadWrite],
};

/// (column, head) items of a workgroup of `attention`.
const ITEMS: u32 = 8;

params! {
    /// Params of `rope_append.wgsl`.
    RopeAppendParams {
        n_heads: u32,
        n_kv_heads: u32,
        context_len: u32,
        x_stride: u32,
        q_stride: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

params! {
    /// Params of `attention.wgsl`.
    AttentionParams {
        n_heads: u32,
        group: u32,
        context_len: u32,
        q_stride: u32,
        y_stride: u32,
        scale: f32,
        pad0: u32,
        pad1: u32,
    }
}

/// Element type of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// 32-bit floats: exact, twice the memory.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
}

impl KvType {
    /// Bytes of one value.
    pub fn n_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    fn slot(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// How q and k are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rope {
    /// Not at all: positions are in the embedding.
    None,
    /// Neighbouring values (GGUF's llama order).
    Interleaved,
    /// Values half a head apart (Hugging Face's order).
    Neox,
}

impl Rope {
    fn slot(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interleaved => "interleaved",
            Self::Neox => "neox",
        }
    }
}

/// Which positions a column sees.
#[derive(Clone, Copy, Debug)]
pub enum Span<'a> {
    /// Its own and all before it.
    Causal,
    /// Those of its text: `(first, one past last)` per column.
    Segment(&'a Buffer),
}

/// Shape of attention, the same for all layers of a model.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Values per head; a multiple of 4.
    pub head_dim: u32,
    /// Positions per kv head in the cache.
    pub context_len: u32,
    /// Element type of the cache.
    pub kv_type: KvType,
}

/// Keys and values of one layer, each `(n_kv_heads, context_len, head_dim)`.
#[derive(Clone, Debug)]
pub struct KvBuffers {
    /// Keys, rotated.
    pub k: Buffer,
    /// Values.
    pub v: Buffer,
}

fn rope_variant(heads: &Heads, rope: Rope) -> Variant {
    let variant = Variant::new().slot("kv", heads.kv_type.slot()).slot("rope", rope.slot());
    variant.size("WG", WORKGROUP).size("HEAD_DIM", heads.head_dim)
}

fn attention_variant(caps: &Caps, heads: &Heads, span: &'static str) -> Variant {
    let variant = Variant::new().slot("kv", heads.kv_type.slot()).slot("span", span).team(caps);
    variant.size("WG", WORKGROUP).size("HEAD_DIM", heads.head_dim).size("ITEMS", ITEMS)
}

/// Rotates the q and k of `qkv` (columns of q, k, v), writes q to `q` and k and v to `cache` at the columns' positions.
/// `angles`: `(context_len, head_dim / 2)` pairs of cosine and sine; any buffer where there is no rotation.
pub fn rope_append(
    pass: &mut Pass<'_>,
    heads: &Heads,
    rope: Rope,
    qkv: &Columns,
    angles: &Buffer,
    q: &Columns,
    cache: &KvBuffers,
) {
    let n_heads = heads.n_heads + 2 * heads.n_kv_heads;
    assert_eq!(qkv.n_values, n_heads * heads.head_dim, "values of q, k and v");
    assert_eq!(q.n_values, heads.n_heads * heads.head_dim, "values of q");
    let params = RopeAppendParams {
        n_heads: heads.n_heads,
        n_kv_heads: heads.n_kv_heads,
        context_len: heads.context_len,
        x_stride: qkv.stride(),
        q_stride: q.stride(),
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let n_groups = groups_for(n_heads * heads.head_dim / 2 * qkv.n_columns);
    let buffers = [pass.state, &qkv.buffer, angles, &q.buffer, &cache.k, &cache.v];
    let work = cost::rope_append(heads, rope);
    pass.rec.dispatch(&ROPE_APPEND, rope_variant(heads, rope), params, &buffers, n_groups, work);
}

/// y[column][head] = softmax(q·Kᵀ / √head_dim)·V over the column's span.
pub fn attention(pass: &mut Pass<'_>, heads: &Heads, span: Span<'_>, q: &Columns, cache: &KvBuffers, y: &Columns) {
    assert_eq!(q.n_values, y.n_values, "values of q and y");
    let params = AttentionParams {
        n_heads: heads.n_heads,
        group: heads.n_heads / heads.n_kv_heads,
        context_len: heads.context_len,
        q_stride: q.stride(),
        y_stride: y.stride(),
        scale: 1.0 / (heads.head_dim as f32).sqrt(),
        pad0: 0,
        pad1: 0,
    };
    let (slot, spans) = match span {
        Span::Causal => ("causal", pass.vectors),
        Span::Segment(spans) => ("segment", spans),
    };
    let variant = attention_variant(pass.rec.caps(), heads, slot);
    let buffers = [pass.state, &q.buffer, &cache.k, &cache.v, spans, &y.buffer];
    let work = cost::attention(heads, matches!(span, Span::Segment(_)));
    pass.rec.dispatch(&ATTENTION, variant, params, &buffers, (heads.n_heads * q.n_columns).div_ceil(ITEMS), work);
}

/// Every variant these functions record, at a few head sizes.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut all = Vec::new();
    for (kv_type, head_dim) in [(KvType::F32, 8), (KvType::F16, 64), (KvType::F16, 256)] {
        let heads = Heads { n_heads: 1, n_kv_heads: 1, head_dim, context_len: 1, kv_type };
        for rope in [Rope::None, Rope::Interleaved, Rope::Neox] {
            all.push((&ROPE_APPEND, rope_variant(&heads, rope)));
        }
        for span in ["causal", "segment"] {
            all.push((&ATTENTION, attention_variant(caps, &heads, span)));
        }
    }
    all
}
