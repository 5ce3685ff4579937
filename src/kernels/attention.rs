//! Attention and what leads to it: `rope_append.wgsl` (rotate, append to the cache) and `attention.wgsl`.

use super::{ColumnsAre, Pass, VectorOffset, WORKGROUP, cost, items_for_teams};
use crate::error::Result;
use crate::format::planes::RowOrder;
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::tensor::Columns;
use crate::gpu::wgsl::wgsl;
use crate::gpu::{Buffer, Choices, Gpu, Grid, Share};

/// Norms and rotates q and k and appends k and v to the cache.
pub static ROPE_APPEND: Kernel = Kernel {
    name: "rope_append",
    source: wgsl!("rope_append"),
    params: RopeAppendParams::LAYOUT,
    bindings: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::ReadWrite,
        Access::ReadWrite,
        Access::ReadWrite,
    ],
};

/// Keys and values of a step into a cache of bytes.
pub static KV_STORE: Kernel = Kernel {
    name: "kv_store",
    source: wgsl!("kv_store"),
    params: KvStoreParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite, Access::ReadWrite],
};

/// Softmax attention over the cache.
pub static ATTENTION: Kernel = Kernel {
    name: "attention",
    source: wgsl!("attention"),
    params: AttentionParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::ReadWrite],
};

/// The parts of a split attention as one.
pub static ATTENTION_MERGE: Kernel = Kernel {
    name: "attention_merge",
    source: wgsl!("attention_merge"),
    params: AttentionMergeParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::ReadWrite],
};

/// Items of a workgroup of `attention` at most: a few queries of one kv head over one part of their span.
const MAX_ITEMS: u32 = 4;

/// Positions that a set of lanes of `attention` loads ahead at most.
const MAX_AHEAD: u32 = 8;

/// Heads of a workgroup of `rope_append` at most.
const HEADS_PER_GROUP: u32 = 8;

/// Positions of a part of a split span. The same for all on a device, so that a query's sums do not depend on how long others are:
/// few where only many parts at once fill it.
pub fn split_len(choices: &Choices) -> u32 {
    if choices.is_wide() { 64 } else { 512 }
}

params! {
    /// Params of `rope_append.wgsl`.
    RopeAppendParams {
        n_heads: u32,
        n_kv_heads: u32,
        context_len: u32,
        x_stride: u32,
        q_stride: u32,
        q_norm: u32,
        k_norm: u32,
        norm_stride: u32,
        eps: f32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

params! {
    /// Params of `kv_store.wgsl`.
    KvStoreParams {
        n_kv_heads: u32,
        from_len: u32,
        context_len: u32,
        scales: u32,
    }
}

params! {
    /// Params of `attention.wgsl`.
    AttentionParams {
        n_kv_heads: u32,
        group: u32,
        context_len: u32,
        q_stride: u32,
        y_stride: u32,
        scale: f32,
        n_splits: u32,
        window: u32,
        softcap: f32,
        scales: u32,
        pad1: u32,
        pad2: u32,
    }
}

params! {
    /// Params of `attention_merge.wgsl`.
    AttentionMergeParams {
        n_heads: u32,
        y_stride: u32,
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
    /// Bytes, with a scale for each head at each position.
    Q8,
}

impl KvType {
    /// Bytes of a row of the cache: `head_dim` values of a head at a position.
    pub fn row_bytes(self, head_dim: u32) -> u64 {
        let head_dim = u64::from(head_dim);
        match self {
            Self::F32 => 4 * head_dim,
            Self::F16 => 2 * head_dim,
            Self::Q8 => head_dim + 4,
        }
    }

    pub(crate) fn slot(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
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
    /// Likewise within the first values of a head; the others stay.
    NeoxPart {
        /// How many: a multiple of 4.
        rotated: u32,
    },
}

impl Rope {
    pub(crate) fn slot(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interleaved => "interleaved",
            Self::Neox | Self::NeoxPart { .. } => "neox",
        }
    }

    /// Values of a head that are rotated.
    pub fn rotated(self, head_dim: u32) -> u32 {
        match self {
            Self::None => 0,
            Self::Interleaved | Self::Neox => head_dim,
            Self::NeoxPart { rotated } => rotated,
        }
    }

    /// The order of rows of q, k and v in which a quad is what rotates together.
    pub fn row_order(self, head_dim: u32) -> RowOrder {
        match self {
            Self::None | Self::Interleaved => RowOrder::AsFiled,
            Self::Neox => RowOrder::Halves { block: head_dim.into() },
            Self::NeoxPart { rotated } => RowOrder::PartHalves { block: head_dim.into(), part: rotated.into() },
        }
    }
}

/// A norm of q and of k before they are rotated.
#[derive(Clone, Copy, Debug)]
pub struct HeadNorm {
    /// What it does; a bias is not among it.
    pub is_layer: bool,
    /// Over the values of all heads together, not of each.
    pub over_all: bool,
    /// q's weight.
    pub q: VectorOffset,
    /// k's weight.
    pub k: VectorOffset,
    /// vec4s from one head's weight to the next; 0 where they share one.
    pub stride: u32,
    /// Added to the mean square or the variance.
    pub eps: f32,
}

impl HeadNorm {
    /// The file of the `head_norm` slot.
    fn slot(norm: Option<&Self>) -> &'static str {
        match norm {
            None => "none",
            Some(Self { is_layer: true, .. }) => "layer",
            Some(_) => "rms",
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

/// What a column sees, and how scores are made of it.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// Which positions.
    pub span: Span<'a>,
    /// Those of them that are less than this far away.
    pub window: u32,
    /// Factor of q·k.
    pub scale: f32,
    /// What becomes of the scores.
    pub score: Score<'a>,
}

/// What becomes of a score before the softmax.
#[derive(Clone, Copy, Debug)]
pub enum Score<'a> {
    /// Nothing.
    Plain,
    /// c·tanh(score/c): the bound c.
    SoftCap(f32),
    /// A bias is added by head and distance: `(n_heads, 2·FAR + 1)`.
    Relative(&'a Buffer),
}

/// Distances up to which biases differ.
pub const FAR: u32 = 128;

impl Score<'_> {
    /// The file of the `score` slot.
    fn slot(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::SoftCap(_) => "softcap",
            Self::Relative(_) => "relative",
        }
    }
}

/// A window that holds everything.
pub const NO_WINDOW: u32 = u32::MAX;

impl<'a> Scores<'a> {
    /// q·k / √head_dim of all of `span`.
    pub fn plain(heads: &Heads, span: Span<'a>) -> Self {
        Self { span, window: NO_WINDOW, scale: 1.0 / (heads.head_dim as f32).sqrt(), score: Score::Plain }
    }
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
    /// Positions per kv head in the cache; where queries see a window less long, a ring of them.
    pub context_len: u32,
    /// Element type of the cache.
    pub kv_type: KvType,
}

impl Heads {
    /// Query heads per kv head.
    fn group(&self) -> u32 {
        self.n_heads / self.n_kv_heads
    }

    /// Values of q, k and v of a column.
    pub fn qkv_rows(&self) -> u32 {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }
}

/// Keys and values of one layer, each `(slot, n_kv_heads, context_len, head_dim)`.
#[derive(Clone, Debug)]
pub struct KvBuffers {
    /// Keys, rotated.
    pub k: Buffer,
    /// Values.
    pub v: Buffer,
}

/// Keys and values of a step on their way to a cache of bytes, each `(n_kv_heads, n_columns, head_dim)` f32.
#[derive(Clone, Debug)]
pub struct Staged {
    /// Both.
    pub kv: KvBuffers,
    /// Columns of a step.
    pub n_columns: u32,
}

impl Staged {
    /// Room for steps of `n_columns`, where the cache is one of bytes.
    pub fn new(gpu: &Gpu, heads: &Heads, n_columns: u32) -> Result<Option<Self>> {
        if heads.kv_type != KvType::Q8 {
            return Ok(None);
        }
        let n_bytes = u64::from(heads.n_kv_heads * n_columns) * KvType::F32.row_bytes(heads.head_dim);
        let (k, v) = (gpu.buffer("keys of a step", n_bytes)?, gpu.buffer("values of a step", n_bytes)?);
        Ok(Some(Self { kv: KvBuffers { k, v }, n_columns }))
    }
}

/// Where the q, k and v of a step go.
#[derive(Clone, Copy, Debug)]
pub struct Qkv<'a> {
    /// Shape of attention.
    pub heads: &'a Heads,
    /// How q and k are rotated.
    pub rope: Rope,
    /// Their norm; a product that ends in q, k and v has none.
    pub norm: Option<HeadNorm>,
    /// `(context_len, rotated / 2)` pairs of cosine and sine; any buffer without rotation.
    pub angles: &'a Buffer,
    /// Takes q.
    pub q: &'a Columns,
    /// Takes k and v at the columns' positions.
    pub cache: &'a KvBuffers,
    /// Takes them before that, where the cache is one of bytes: `kv_store` then fills it.
    pub staged: Option<&'a Staged>,
}

impl<'a> Qkv<'a> {
    /// Where k and v are written: the `kv` slot, positions per head, buffers.
    pub(crate) fn written(&self) -> (&'static str, u32, &'a KvBuffers) {
        match self.staged {
            Some(staged) => ("staged", staged.n_columns, &staged.kv),
            None => (self.heads.kv_type.slot(), self.heads.context_len, self.cache),
        }
    }
}

fn rope_variant(
    caps: &Caps,
    (heads, kv): (&Heads, &'static str),
    rope: Rope,
    norm: Option<&HeadNorm>,
    columns: ColumnsAre,
) -> Variant {
    let variant = Variant::new().slot("columns", columns.slot()).slot("kv", kv);
    let variant = variant.slot("rope", rope.slot()).slot("head_norm", HeadNorm::slot(norm)).team(caps);
    let variant = variant
        .size("WG", WORKGROUP)
        .size("ITEMS", items_for_teams(caps, HEADS_PER_GROUP))
        .size("HEAD_DIM", heads.head_dim);
    let over_all = norm.is_some_and(|norm| norm.over_all);
    variant.size("ROTATED", rope.rotated(heads.head_dim)).size("NORM_ALL", u32::from(over_all))
}

/// `n_queries` that share their keys: what a team may take at once.
fn attention_variant(
    share: Share,
    caps: &Caps,
    heads: &Heads,
    (span, score): (&'static str, &'static str),
    columns: ColumnsAre,
    n_queries: u32,
) -> Variant {
    let quads = heads.head_dim / 4;
    // Without subgroups a lane holds its queries whole: more than one would not fit its registers.
    let rows = if caps.subgroups { n_queries.min(4) } else { 1 };
    let lanes = if caps.subgroups { caps.min_lanes.clamp(1, WORKGROUP) } else { WORKGROUP };
    let variant = Variant::new().slot("kv", heads.kv_type.slot()).slot("columns", columns.slot());
    let variant = variant.slot("span", span).slot("score", score).team(caps).share(caps, share);
    let items = items_for_teams(caps, MAX_ITEMS);
    let variant = variant.size("WG", WORKGROUP).size("HEAD_DIM", heads.head_dim).size("ITEMS", items);
    let variant = variant.size("ROWS", rows).size("LOADS", quads.div_ceil(caps.share_lanes()));
    // Sets are added up by shuffles a power of two apart, and a few positions each make no more than a block.
    let sets = if quads.is_power_of_two() { (lanes / quads).min(lanes / 4).max(1) } else { 1 };
    let ahead = (lanes / sets).min(MAX_AHEAD);
    variant.size("SLICES", quads.div_ceil(lanes)).size("SETS", sets).size("AHEAD", ahead)
}

/// Norms and rotates the q and k of `x` (columns of q, k, v) and puts all three where `qkv` says.
pub fn rope_append(pass: &mut Pass<'_>, qkv: &Qkv<'_>, x: &Columns) {
    let Qkv { heads, rope, norm, angles, q, .. } = *qkv;
    let (kv, context_len, cache) = qkv.written();
    assert_eq!(x.n_values, heads.qkv_rows(), "values of q, k and v");
    assert_eq!(q.n_values, heads.n_heads * heads.head_dim, "values of q");
    let params = RopeAppendParams {
        n_heads: heads.n_heads,
        n_kv_heads: heads.n_kv_heads,
        context_len,
        x_stride: x.stride(),
        q_stride: q.stride(),
        q_norm: norm.map_or(0, |norm| norm.q),
        k_norm: norm.map_or(0, |norm| norm.k),
        norm_stride: norm.map_or(0, |norm| norm.stride),
        eps: norm.map_or(0.0, |norm| norm.eps),
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let grid = Grid::threads(
        x.n_columns,
        heads.qkv_rows() / heads.head_dim,
        items_for_teams(pass.rec.caps(), HEADS_PER_GROUP),
    );
    let buffers = [pass.state, &x.buffer, pass.vectors, angles, &q.buffer, &cache.k, &cache.v];
    let variant = rope_variant(pass.rec.caps(), (heads, kv), rope, norm.as_ref(), pass.columns);
    let work = cost::rope_append(heads, rope, norm.is_some());
    pass.rec.dispatch(&ROPE_APPEND, variant, params, &buffers, grid, work);
}

fn store_variant(caps: &Caps, heads: &Heads, columns: ColumnsAre) -> Variant {
    let variant = Variant::new().slot("columns", columns.slot()).team(caps);
    variant.size("WG", WORKGROUP).size("ITEMS", items_for_teams(caps, HEADS_PER_GROUP)).size("HEAD_DIM", heads.head_dim)
}

/// Rounds the step's keys and values into the cache of bytes, where `qkv` has one.
pub fn kv_store(pass: &mut Pass<'_>, qkv: &Qkv<'_>) {
    let (Some(staged), Qkv { heads, cache, .. }) = (qkv.staged, *qkv) else { return };
    let params = KvStoreParams {
        n_kv_heads: heads.n_kv_heads,
        from_len: staged.n_columns,
        context_len: heads.context_len,
        scales: cache.scales(heads),
    };
    let grid = Grid::threads(staged.n_columns, heads.n_kv_heads, items_for_teams(pass.rec.caps(), HEADS_PER_GROUP));
    let buffers = [pass.state, &staged.kv.k, &staged.kv.v, &cache.k, &cache.v];
    let variant = store_variant(pass.rec.caps(), heads, pass.columns);
    pass.rec.dispatch(&KV_STORE, variant, params, &buffers, grid, cost::kv_store(heads));
}

impl KvBuffers {
    /// Bytes of one sequence of the `n_slots` in a buffer: where its values begin and how many there are, and its scales.
    pub(crate) fn slot_bytes(&self, heads: &Heads, slot: u64) -> Vec<(u64, u64)> {
        let n_rows = u64::from(heads.n_kv_heads) * u64::from(heads.context_len);
        if heads.kv_type != KvType::Q8 {
            let n_bytes = n_rows * heads.kv_type.row_bytes(heads.head_dim);
            return vec![(slot * n_bytes, n_bytes)];
        }
        let (codes, scales) = (n_rows * u64::from(heads.head_dim), n_rows * 4);
        vec![(slot * codes, codes), (u64::from(self.scales(heads)) * 4 + slot * scales, scales)]
    }

    /// Words before the scales of a cache of bytes, which are as many as its rows.
    fn scales(&self, heads: &Heads) -> u32 {
        let n_rows = self.k.n_bytes() / heads.kv_type.row_bytes(heads.head_dim);
        (n_rows * u64::from(heads.head_dim / 4)) as u32
    }
}

/// Where attention over long spans leaves its parts.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Parts of a span at most; 1 needs no buffer.
    pub n_splits: u32,
    /// `(column, head, split)`: unnormalized sums, then maximum and total.
    pub parts: Option<Buffer>,
}

impl Splits {
    /// Spans are whole.
    pub const NONE: Self = Self { n_splits: 1, parts: None };

    /// Room for `n_columns` columns that see up to `n_splits` parts.
    pub fn new(gpu: &Gpu, heads: &Heads, n_columns: u32, n_splits: u32) -> Result<Self> {
        if n_splits <= 1 {
            return Ok(Self::NONE);
        }
        let n_parts = u64::from(n_columns) * u64::from(heads.n_heads) * u64::from(n_splits);
        let n_bytes = n_parts * (u64::from(heads.head_dim) + 4) * 4;
        Ok(Self { n_splits, parts: Some(gpu.buffer("parts of attention", n_bytes)?) })
    }
}

/// y[column][head] = softmax(q·Kᵀ·scale)·V over what the column sees.
pub fn attention(
    pass: &mut Pass<'_>,
    heads: &Heads,
    scores: &Scores<'_>,
    q: &Columns,
    cache: &KvBuffers,
    splits: &Splits,
    y: &Columns,
) {
    assert_eq!(q.n_values, y.n_values, "values of q and y");
    let Splits { n_splits, parts } = splits;
    let params = AttentionParams {
        n_kv_heads: heads.n_kv_heads,
        group: heads.group(),
        context_len: heads.context_len,
        q_stride: q.stride(),
        y_stride: y.stride(),
        scale: scores.scale,
        n_splits: *n_splits,
        window: scores.window,
        softcap: if let Score::SoftCap(bound) = scores.score { bound } else { 0.0 },
        scales: if heads.kv_type == KvType::Q8 { cache.scales(heads) } else { 0 },
        pad1: 0,
        pad2: 0,
    };
    let biases = if let Score::Relative(biases) = scores.score { biases } else { pass.vectors };
    let (slot, spans) = match scores.span {
        Span::Causal => ("causal", pass.vectors),
        Span::Segment(spans) => ("segment", spans),
    };
    // How many queries share their keys.
    let n_queries = match pass.columns {
        ColumnsAre::Sequence => heads.group() * q.n_columns,
        ColumnsAre::Slots => heads.group(),
    };
    let (choices, caps) = (pass.rec.choices(), pass.rec.caps());
    let split = if parts.is_some() { split_len(&choices) } else { 0 };
    let variant = attention_variant(choices.share, caps, heads, (slot, scores.score.slot()), pass.columns, n_queries);
    let variant = variant.size("SPLIT", split).size("RING", u32::from(scores.window != NO_WINDOW));
    let [rows, items] = ["ROWS", "ITEMS"].map(|size| variant.value(size).unwrap_or(1));
    let times = heads.n_kv_heads * n_splits;
    let grid = match pass.columns {
        ColumnsAre::Sequence => {
            let (n_columns, per_column) = (q.n_columns, heads.group());
            Grid::Columns { n_columns, per_column, per_tile: rows, times, per_group: items }
        }
        ColumnsAre::Slots => Grid::Fixed((q.n_columns * n_queries.div_ceil(rows) * times).div_ceil(items)),
    };
    let to = parts.as_ref().unwrap_or(&y.buffer);
    let buffers = [pass.state, &q.buffer, &cache.k, &cache.v, spans, biases, to];
    let work = cost::attention(heads, matches!(scores.span, Span::Segment(_)));
    pass.rec.dispatch(&ATTENTION, variant, params, &buffers, grid, work);
    if let Some(parts) = parts {
        let params = AttentionMergeParams { n_heads: heads.n_heads, y_stride: y.stride(), pad0: 0, pad1: 0 };
        let grid = Grid::threads(q.n_columns, heads.n_heads * heads.head_dim / 4, WORKGROUP);
        let buffers = [pass.state, parts, &y.buffer];
        let work = cost::attention_merge(heads, *n_splits);
        pass.rec.dispatch(&ATTENTION_MERGE, merge_variant(heads, *n_splits), params, &buffers, grid, work);
    }
}

fn merge_variant(heads: &Heads, n_splits: u32) -> Variant {
    Variant::new().size("WG", WORKGROUP).size("HEAD_DIM", heads.head_dim).size("N_SPLITS", n_splits)
}

/// Every variant these functions record, at a few head sizes.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut all = Vec::new();
    for (kv_type, head_dim) in [(KvType::F32, 8), (KvType::F16, 64), (KvType::Q8, 64), (KvType::F16, 256)] {
        let heads = Heads { n_heads: 1, n_kv_heads: 1, head_dim, context_len: 1, kv_type };
        let kv = if kv_type == KvType::Q8 { "staged" } else { kv_type.slot() };
        for columns in [ColumnsAre::Sequence, ColumnsAre::Slots] {
            all.push((&KV_STORE, store_variant(caps, &heads, columns)));
        }
        for rope in [Rope::None, Rope::Interleaved, Rope::Neox, Rope::NeoxPart { rotated: 4 }] {
            for columns in [ColumnsAre::Sequence, ColumnsAre::Slots] {
                all.push((&ROPE_APPEND, rope_variant(caps, (&heads, kv), rope, None, columns)));
            }
        }
        for (is_layer, over_all) in [(false, false), (false, true), (true, false)] {
            let norm = HeadNorm { is_layer, over_all, q: 0, k: 0, stride: 0, eps: 0.0 };
            all.push((&ROPE_APPEND, rope_variant(caps, (&heads, kv), Rope::Neox, Some(&norm), ColumnsAre::Sequence)));
        }
        for (span, columns) in [
            (("causal", "plain"), ColumnsAre::Sequence),
            (("causal", "softcap"), ColumnsAre::Sequence),
            (("causal", "plain"), ColumnsAre::Slots),
            (("segment", "plain"), ColumnsAre::Sequence),
            (("segment", "relative"), ColumnsAre::Sequence),
        ] {
            for n_queries in [1, 3, 8] {
                for split in [0, split_len(&Choices::default())] {
                    let share = if split == 0 { Share::Broadcast } else { Share::Shuffle };
                    let variant = attention_variant(share, caps, &heads, span, columns, n_queries);
                    all.push((&ATTENTION, variant.size("SPLIT", split).size("RING", u32::from(n_queries == 3))));
                }
            }
        }
        all.push((&ATTENTION_MERGE, merge_variant(&heads, 2)));
    }
    all
}
