//! Products of weights and activations: `matvec.wgsl` for one column, `matmul.wgsl` for tiles of columns, `embed.wgsl` for rows
//! by id.

use super::attention::Qkv;
use super::elementwise::GATES;
use super::{ColumnsAre, MAX_SLOTS, Pass, VectorOffset, WORKGROUP, cost};
use crate::format::DType;
use crate::format::planes::RowOrder;
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::tensor::{Columns, Matrix, Part};
use crate::gpu::wgsl::wgsl;
use crate::gpu::{Buffer, Choices, Grid, Math, OneColumn, Share};

/// Bindings of the `plain` and `gated` outputs: state, weights, x, vectors, residual, y.
const BINDINGS: &[Access] = &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::ReadWrite];

/// Bindings of the `qkv` output: state, weights, x, vectors, angles, q, k, v.
const QKV_BINDINGS: &[Access] = &[
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Read,
    Access::Read,
    Access::ReadWrite,
    Access::ReadWrite,
    Access::ReadWrite,
];

const fn kernel(name: &'static str, source: &'static str, bindings: &'static [Access]) -> Kernel {
    Kernel { name, source, params: ProductParams::LAYOUT, bindings }
}

/// Few columns: a team of lanes owns a quad of rows at a time.
pub static MATVEC: Kernel = kernel("matvec", wgsl!("matvec"), BINDINGS);

/// Columns in tiles: a thread owns a quad of rows × a few columns.
pub static MATMUL: Kernel = kernel("matmul", wgsl!("matmul"), BINDINGS);

/// `MATVEC` that ends in q and the cache.
pub static MATVEC_QKV: Kernel = kernel("matvec_qkv", wgsl!("matvec"), QKV_BINDINGS);

/// `MATMUL` that ends in q and the cache.
pub static MATMUL_QKV: Kernel = kernel("matmul_qkv", wgsl!("matmul"), QKV_BINDINGS);

/// Rows of a matrix by id.
pub static EMBED: Kernel = Kernel {
    name: "embed",
    source: wgsl!("embed"),
    params: EmbedParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
};

/// Quads of rows of a workgroup of `matvec`: a tile of the weights.
const QUADS_PER_GROUP: u32 = 8;

/// Threads that a workgroup may have on every device.
const MAX_THREADS: u32 = 256;

/// Columns up to which sums are scaled instead of weights.
const FEW_COLUMNS: u32 = 2;

/// Columns of the largest tile of `matmul`; activations of many columns have room for whole tiles of it.
pub const TILE_COLUMNS: u32 = 16;

params! {
    /// Params of `matvec.wgsl` and `matmul.wgsl`: `common/product.wgsl`.
    ProductParams {
        planes: [u32; 4],
        n_rows: u32,
        first_row: u32,
        n_cols: u32,
        x_stride: u32,
        y_stride: u32,
        norm: u32,
        bias: u32,
        eps: f32,
        only_last: u32,
        n_heads: u32,
        n_kv_heads: u32,
        context_len: u32,
        q_stride: u32,
        n_gates: u32,
        factor: f32,
        pad0: u32,
    }
}

params! {
    /// Params of `embed.wgsl`.
    EmbedParams {
        planes: [u32; 4],
        n_rows: u32,
        first_row: u32,
        y_stride: u32,
        ids_are: u32,
        ids_stride: u32,
        scale: f32,
        pad0: u32,
        pad1: u32,
    }
}

/// An RMS norm of x, part of the product that follows it.
#[derive(Clone, Copy, Debug)]
pub struct RmsPrologue {
    /// The norm's weight.
    pub weight: VectorOffset,
    /// Added to the mean square.
    pub eps: f32,
}

/// A function applied to each output.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// x·σ(x).
    Silu,
    /// x·Φ(x), exact.
    Gelu,
    /// x·Φ(x), Φ by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh.
    Tanh,
    /// c·tanh(x/c): the bound c. Products alone have it.
    SoftCap(f32),
}

impl Activation {
    /// The file of the `activation` slot.
    pub(crate) fn slot(self) -> &'static str {
        match self {
            Self::Identity => "none",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::SoftCap(_) => "softcap",
        }
    }
}

/// What an output is added to.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a> {
    /// factor·v + stream, after the activation.
    Stream {
        /// Laid out like the output.
        stream: &'a Columns,
        /// What the output is multiplied with first.
        factor: f32,
    },
    /// factor·v + what the output's columns hold already, before the activation.
    Own {
        /// What is multiplied with first.
        factor: f32,
    },
}

impl<'a> Residual<'a> {
    /// The stream, to which outputs are added as they are.
    pub fn new(stream: &'a Columns) -> Self {
        Self::Stream { stream, factor: 1.0 }
    }

    /// The file of the `residual` slot.
    fn slot(residual: Option<&Self>) -> &'static str {
        match residual {
            None => "none",
            Some(Self::Stream { factor: 1.0, .. }) => "add",
            Some(Self::Stream { .. }) => "scaled",
            Some(Self::Own { .. }) => "own",
        }
    }

    /// What the output is multiplied with.
    pub fn factor(&self) -> f32 {
        match self {
            Self::Stream { factor, .. } | Self::Own { factor } => *factor,
        }
    }

    fn stream(&self) -> Option<&'a Columns> {
        match self {
            Self::Stream { stream, .. } => Some(stream),
            Self::Own { .. } => None,
        }
    }
}

/// W·norm(x) and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// W.
    pub weights: &'a Matrix,
    /// The columns it is multiplied with.
    pub x: &'a Columns,
    /// Which of them.
    pub wanted: Wanted,
    /// The norm, if any.
    pub norm: Option<RmsPrologue>,
    /// One value per row, added first.
    pub bias: Option<VectorOffset>,
    /// What becomes of it.
    pub output: Output<'a>,
}

/// Which columns of a step a product is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// The last alone, which becomes column 0 of the output.
    Last,
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// y = activate(v) + residual, one value per row.
    Plain {
        /// Takes the values.
        y: &'a Columns,
        /// A function of each.
        activation: Activation,
        /// What it is added to.
        residual: Option<Residual<'a>>,
    },
    /// y = activate(gate)·up, where each quad of rows is two gates and their ups.
    Gated {
        /// Takes the values, half as many as rows.
        y: &'a Columns,
        /// A function of each gate.
        activation: Activation,
    },
    /// q, k and v rotated and put where attention finds them. Parts are whole heads.
    Qkv(Qkv<'a>),
}

/// How a product is shared out among threads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `matvec.wgsl` with this many columns, quads side by side, and threads.
    Team { columns: u32, side: u32, threads: u32 },
    /// `matmul.wgsl` with this many columns and threads.
    Tile { columns: u32, threads: u32, math: TileMath, share: Share },
}

/// What a tile computes with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TileMath {
    /// 32-bit floats, scales applied to sums: for few columns.
    Sums,
    /// Scales applied to weights, but for integers.
    Many(Math),
}

impl TileMath {
    /// The file of the `math` slot.
    fn slot(self) -> &'static str {
        match self {
            Self::Sums => "f32_sums",
            Self::Many(math) => math.name(),
        }
    }
}

impl Shape {
    fn new(n_columns: u32, dtype: DType, choices: Choices, caps: &Caps) -> Self {
        let share = choices.share;
        // Columns that must come out as they do alone add up in the same order.
        let is_alike = choices.alike && n_columns <= MAX_SLOTS as u32;
        let one_column = |threads| Self::Tile { columns: 1, threads, math: TileMath::Sums, share };
        match (n_columns, choices.one_column) {
            (_, OneColumn::Team1) if n_columns == 1 || is_alike => Self::team(n_columns, 1, caps),
            (_, OneColumn::Team2) if n_columns == 1 || is_alike => Self::team(n_columns, 2, caps),
            (_, OneColumn::Team8) if n_columns == 1 || is_alike => Self::team(n_columns, 8, caps),
            (1, OneColumn::Tile16) => one_column(16),
            (1, OneColumn::Tile32) => one_column(32),
            (1, OneColumn::Tile64) => one_column(64),
            _ => {
                let columns = choices.tile_columns.min(n_columns);
                let math = match choices.math {
                    _ if columns <= FEW_COLUMNS || is_alike => TileMath::Sums,
                    Math::Int8 if dtype.is_float() => TileMath::Many(Math::F32),
                    math => TileMath::Many(math),
                };
                Self::Tile { columns, threads: choices.tile_threads, math, share }
            }
        }
    }

    /// Threads for a team per `side` quads of a workgroup's, as far as every device has them.
    fn team(columns: u32, side: u32, caps: &Caps) -> Self {
        if !caps.subgroups {
            return Self::Team { columns, side, threads: WORKGROUP };
        }
        let threads = (QUADS_PER_GROUP / side * caps.min_lanes).clamp(WORKGROUP, MAX_THREADS);
        Self::Team { columns, side: side.min(caps.min_lanes), threads }
    }
}

impl Output<'_> {
    fn kernel(&self, shape: Shape) -> &'static Kernel {
        match (shape, self) {
            (Shape::Team { .. }, Self::Qkv(_)) => &MATVEC_QKV,
            (Shape::Team { .. }, _) => &MATVEC,
            (Shape::Tile { .. }, Self::Qkv(_)) => &MATMUL_QKV,
            (Shape::Tile { .. }, _) => &MATMUL,
        }
    }

    fn fill(&self, variant: Variant, columns: ColumnsAre) -> Variant {
        match self {
            Self::Plain { activation, residual, .. } => {
                let variant = variant.slot("output", "plain").slot("activation", activation.slot());
                variant.slot("residual", Residual::slot(residual.as_ref()))
            }
            Self::Gated { activation, .. } => variant.slot("output", "gated").slot("activation", activation.slot()),
            Self::Qkv(qkv @ Qkv { heads, rope, .. }) => {
                let variant = variant.slot("output", "qkv").slot("kv", qkv.written().0).slot("rope", rope.slot());
                let variant = variant.slot("columns", columns.slot()).size("HEAD_DIM", heads.head_dim);
                variant.size("ROTATED", rope.rotated(heads.head_dim))
            }
        }
    }

    /// The same for the cost model.
    fn end(&self) -> cost::End<'_> {
        match self {
            Self::Plain { activation, residual, .. } => {
                cost::End::Plain { activation: *activation != Activation::Identity, residual: residual.is_some() }
            }
            Self::Gated { .. } => cost::End::Gated,
            Self::Qkv(qkv) => cost::End::Qkv(qkv.heads, qkv.rope),
        }
    }

    fn check(&self, weights: &Matrix) {
        match self {
            Self::Plain { y, .. } => {
                assert_eq!(weights.n_rows, y.n_values, "y of a product");
                assert_eq!(weights.order, RowOrder::AsFiled, "rows of a product");
            }
            Self::Gated { y, .. } => {
                assert_eq!(weights.n_rows, 2 * y.n_values, "gate and up");
                assert!(weights.has_gates_and_ups(), "quads of gates and ups");
            }
            Self::Qkv(Qkv { heads, rope, norm, q, .. }) => {
                assert!(norm.is_none(), "a norm wants whole heads");
                assert_eq!(weights.n_rows, heads.qkv_rows(), "values of q, k and v");
                assert_eq!(q.n_values, heads.n_heads * heads.head_dim, "values of q");
                assert!(
                    weights.has_heads(heads.head_dim, rope.row_order(heads.head_dim)),
                    "parts of q, k and v are whole heads, quads rotate together"
                );
            }
        }
    }
}

/// Weights of a type, with that many steps per row.
fn weights_variant((dtype, steps): (DType, u32)) -> Variant {
    Variant::new().slot("weights", dtype.slot()).size("STEPS", steps)
}

/// A variant that lacks its output yet.
fn variant(caps: &Caps, weights: (DType, u32), shape: Shape, is_normed: bool, has_bias: bool) -> Variant {
    let variant = weights_variant(weights);
    let variant = variant.slot("prologue", if is_normed { "rms_norm" } else { "none" });
    let variant = variant.slot("bias", if has_bias { "add" } else { "none" }).team(caps);
    match shape {
        Shape::Team { columns, side, threads } => {
            let variant = variant.slot("math", "f32_sums").size("WG", threads);
            variant.size("COLS", columns).size("SIDE", side)
        }
        Shape::Tile { columns, threads, math, share } => {
            let variant = if math == TileMath::Many(Math::F16) { variant.in_f16() } else { variant };
            let variant = variant.slot("math", math.slot()).share(caps, share);
            let variant = variant.size("WG", threads).size("COLS", columns);
            let granules = if columns <= FEW_COLUMNS { 2 } else { 1 };
            variant.size("LOADS", 8 / caps.share_lanes()).size("GRANULES", granules)
        }
    }
}

impl Part {
    /// The same for the cost model.
    fn weights(&self, n_cols: u32) -> cost::Weights {
        cost::Weights { n_rows: self.n_rows, n_cols, dtype: self.dtype }
    }
}

/// Records `product`, a dispatch per part of its weights.
pub fn multiply(pass: &mut Pass<'_>, product: &Product<'_>) {
    let Product { weights, x, wanted, norm, bias, output } = *product;
    assert_eq!(weights.n_cols, x.n_values, "x of a product");
    output.check(weights);
    let n_columns = if wanted == Wanted::Last { 1 } else { x.n_columns };
    for part in &weights.parts {
        let shape = Shape::new(n_columns, part.dtype, pass.rec.choices(), pass.rec.caps());
        let mut params = ProductParams {
            planes: part.planes,
            n_rows: part.n_rows,
            first_row: part.first_row,
            n_cols: weights.n_cols,
            x_stride: x.stride() / 4,
            norm: norm.map_or(0, |norm| norm.weight),
            eps: norm.map_or(0.0, |norm| norm.eps),
            bias: bias.unwrap_or(0),
            only_last: u32::from(wanted == Wanted::Last),
            ..bytemuck::Zeroable::zeroed()
        };
        let mut buffers = vec![pass.state, &part.buffer, &x.buffer, pass.vectors];
        match output {
            Output::Plain { y, activation, residual } => {
                params.y_stride = y.stride();
                params.factor = match (activation, residual) {
                    (Activation::SoftCap(bound), None) => bound,
                    (Activation::SoftCap(_), Some(_)) => panic!("a bound and a residual stream share a factor"),
                    (_, residual) => residual.map_or(1.0, |residual| residual.factor()),
                };
                let stream = residual.and_then(|residual| residual.stream());
                buffers.extend([stream.map_or(pass.vectors, |stream| &stream.buffer), &y.buffer]);
            }
            Output::Gated { y, .. } => {
                params.y_stride = y.stride();
                params.n_gates = y.n_values;
                buffers.extend([pass.vectors, &y.buffer]);
            }
            Output::Qkv(qkv @ Qkv { heads, angles, q, .. }) => {
                let (_, context_len, cache) = qkv.written();
                params.n_heads = heads.n_heads;
                params.n_kv_heads = heads.n_kv_heads;
                params.context_len = context_len;
                params.q_stride = q.stride();
                buffers.extend([angles, &q.buffer, &cache.k, &cache.v]);
            }
        }
        let quads = part.n_rows.div_ceil(4);
        let grid = match shape {
            Shape::Team { columns, .. } => {
                let times = quads.div_ceil(QUADS_PER_GROUP);
                Grid::Columns { n_columns, per_column: 1, per_tile: columns, times, per_group: 1 }
            }
            Shape::Tile { columns, threads, .. } => {
                assert!(n_columns.is_multiple_of(columns), "columns come in whole tiles of {columns}");
                let times = quads.div_ceil(threads);
                Grid::Columns { n_columns, per_column: 1, per_tile: columns, times, per_group: 1 }
            }
        };
        let variant = variant(pass.rec.caps(), (part.dtype, weights.steps()), shape, norm.is_some(), bias.is_some());
        let columns = if n_columns == 1 { cost::ColumnsAtWork::One } else { cost::ColumnsAtWork::All };
        let work = cost::product(&part.weights(weights.n_cols), norm.is_some(), bias.is_some(), output.end(), columns);
        let variant = output.fill(variant, pass.columns);
        pass.rec.dispatch(output.kernel(shape), variant, params, &buffers, grid, work);
    }
}

/// Where `embed` finds the row ids.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// The entry of the column's slot and position in a history `(slot, stride)`.
    ByPosition {
        /// The ids.
        history: &'a Buffer,
        /// Ids per slot.
        stride: u32,
    },
    /// Entry `column` of a list for this step.
    ByColumn(&'a Buffer),
    /// The column's position.
    Positions,
}

/// Whether `embed` overwrites or adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// y = …
    Set,
    /// y += …
    Add,
}

fn embed_variant(weights: (DType, u32), store: Store, columns: ColumnsAre) -> Variant {
    let accumulate = u32::from(store == Store::Add);
    let variant = weights_variant(weights).slot("columns", columns.slot());
    variant.size("WG", WORKGROUP).size("ACCUMULATE", accumulate)
}

/// y[column] (=, +=) scale·W[ids[column]]: rows of `weights`, dequantized.
pub fn embed(pass: &mut Pass<'_>, weights: &Matrix, scale: f32, ids: Ids<'_>, y: &Columns, store: Store) {
    assert_eq!(weights.n_cols, y.n_values, "width of an embedding");
    let (buffer, ids_are, ids_stride) = match ids {
        Ids::ByColumn(buffer) => (buffer, 0, 0),
        Ids::ByPosition { history, stride } => (history, 1, stride),
        Ids::Positions => (pass.state, 2, 0),
    };
    for (i, part) in weights.parts.iter().enumerate() {
        let params = EmbedParams {
            planes: part.planes,
            n_rows: part.n_rows,
            first_row: part.first_row,
            y_stride: y.stride() / 4,
            ids_are,
            ids_stride,
            scale,
            pad0: 0,
            pad1: 0,
        };
        let grid = Grid::threads(y.n_columns, weights.steps() * 16, WORKGROUP);
        let buffers = [pass.state, &part.buffer, buffer, &y.buffer];
        let work = cost::embed(&part.weights(weights.n_cols), store, i == 0);
        let variant = embed_variant((part.dtype, weights.steps()), store, pass.columns);
        pass.rec.dispatch(&EMBED, variant, params, &buffers, grid, work);
    }
}

/// Every variant these functions record.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut all = Vec::new();
    for dtype in DType::all() {
        for store in [Store::Set, Store::Add] {
            all.push((&EMBED, embed_variant((dtype, 4), store, ColumnsAre::Sequence)));
        }
        all.push((&EMBED, embed_variant((dtype, 4), Store::Set, ColumnsAre::Slots)));
        for shape in shapes(caps, dtype) {
            all.extend(product_variants(caps, dtype, shape));
        }
    }
    all
}

/// Every shape that some choice leads to.
fn shapes(caps: &Caps, dtype: DType) -> Vec<Shape> {
    let tile = |columns, threads, math, share| Shape::Tile { columns, threads, math, share };
    let sums = [(1, 16), (1, 32), (1, 64), (2, 64), (4, 64), (8, 64)]
        .map(|(c, t)| tile(c, t, TileMath::Sums, Share::Broadcast));
    let f32 = TileMath::Many(Math::F32);
    let many = [(4, 64), (8, 64), (TILE_COLUMNS, 32)].map(|(c, t)| tile(c, t, f32, Share::Broadcast));
    let shuffled = [(1, TileMath::Sums), (8, f32)].map(|(c, math)| tile(c, 64, math, Share::Shuffle));
    let teams = [(1, 1), (1, 2), (1, 8), (8, 1), (4, 2), (2, 8)].map(|(c, side)| Shape::team(c, side, caps));
    let in_int8 = (!dtype.is_float()).then(|| tile(8, 64, TileMath::Many(Math::Int8), Share::Broadcast));
    let in_f16 = caps.f16.then(|| tile(8, 64, TileMath::Many(Math::F16), Share::Broadcast));
    sums.into_iter().chain(many).chain(shuffled).chain(teams).chain(in_int8).chain(in_f16).collect()
}

/// Activations and residuals of the `plain` output.
const PLAIN_KINDS: [(&str, &str); 12] = [
    ("none", "add"),
    ("none", "none"),
    ("none", "scaled"),
    ("none", "own"),
    ("gelu", "own"),
    ("silu", "none"),
    ("gelu", "none"),
    ("gelu_tanh", "none"),
    ("relu", "none"),
    ("tanh", "none"),
    ("tanh", "add"),
    ("softcap", "none"),
];

/// Element types of the cache, rotations and columns of the `qkv` output.
fn qkv_kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of = |kv| ["neox", "interleaved", "none"].map(|rope| ["sequence", "slots"].map(|columns| (kv, rope, columns)));
    ["f16", "f32", "staged"].into_iter().flat_map(of).flatten()
}

/// All ends of products of one type; of the others, which know nothing of how a product ends, one of each kind.
fn product_variants(caps: &Caps, dtype: DType, shape: Shape) -> Vec<(&'static Kernel, Variant)> {
    let kernel = if matches!(shape, Shape::Team { .. }) { (&MATVEC, &MATVEC_QKV) } else { (&MATMUL, &MATMUL_QKV) };
    let of_all = |n: usize| if dtype == DType::Q4_0 { n } else { 1 };
    let starts = [(true, true), (false, false), (true, false), (false, true)];
    let mut all: Vec<(&'static Kernel, Variant)> = Vec::new();
    for (is_normed, has_bias) in &starts[..of_all(3) + 1] {
        let start = || variant(caps, (dtype, 4), shape, *is_normed, *has_bias);
        for (activation, residual) in &PLAIN_KINDS[..of_all(PLAIN_KINDS.len())] {
            let filled = start().slot("output", "plain").slot("activation", *activation);
            all.push((kernel.0, filled.slot("residual", *residual)));
        }
        for activation in &GATES[..of_all(GATES.len())] {
            all.push((kernel.0, start().slot("output", "gated").slot("activation", activation.slot())));
        }
        for (i, (kv, rope, columns)) in qkv_kinds().take(of_all(18)).enumerate() {
            let filled = start().slot("output", "qkv").slot("kv", kv).slot("rope", rope).slot("columns", columns);
            let rotated = if i % 2 == 0 { 64 } else { 16 };
            all.push((kernel.1, filled.size("HEAD_DIM", 64).size("ROTATED", rotated)));
        }
    }
    all
}
