//! Products of weights and activations: `matvec.wgsl` for one column, `matmul.wgsl` for many, `embed.wgsl` for rows by id.

use super::{Pass, VectorOffset, WORKGROUP, cost, groups_for};
use crate::format::DType;
use crate::gpu::Buffer;
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::tensor::{Columns, Matrix};
use crate::gpu::work::Work;

const BINDINGS: &[Access] =
    &[Access::Uniform, Access::Read, Access::Read, Access::Read, Access::Read, Access::ReadWrite];

/// One column: a team of lanes owns 4 rows at a time.
pub static MATVEC: Kernel = Kernel {
    name: "matvec",
    source: include_str!("../../shaders/matvec.wgsl"),
    params: MatmulParams::LAYOUT,
    bindings: BINDINGS,
};

/// Many columns: a thread owns 4 rows × 8 columns.
pub static MATMUL: Kernel = Kernel {
    name: "matmul",
    source: include_str!("../../shaders/matmul.wgsl"),
    params: MatmulParams::LAYOUT,
    bindings: BINDINGS,
};

/// Rows of a matrix by id.
pub static EMBED: Kernel = Kernel {
    name: "embed",
    source: include_str!("../../shaders/embed.wgsl"),
    params: EmbedParams::LAYOUT,
    bindings: &[Access::Uniform, Access::Read, Access::Read, Access::ReadWrite],
};

/// Rows of a workgroup of `matvec`.
const ROWS: u32 = 32;

/// Columns of a thread of `matmul`; activations of several columns have room for whole tiles of it.
pub const TILE_COLUMNS: u32 = 8;

params! {
    /// Params of `matvec.wgsl` and `matmul.wgsl`: `common/product.wgsl`.
    MatmulParams {
        planes: [u32; 4],
        n_rows: u32,
        first_row: u32,
        n_cols: u32,
        granules: u32,
        x_stride: u32,
        y_stride: u32,
        norm: u32,
        bias: u32,
        eps: f32,
        out_column: u32,
        pad0: u32,
        pad1: u32,
    }
}

params! {
    /// Params of `embed.wgsl`.
    EmbedParams {
        planes: [u32; 4],
        n_rows: u32,
        first_row: u32,
        granules: u32,
        y_stride: u32,
        by_position: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

/// An RMS norm applied to x while it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct RmsPrologue {
    /// The norm's weight.
    pub weight: VectorOffset,
    /// Added to the mean square.
    pub eps: f32,
}

/// A function applied to each output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// x·σ(x).
    Silu,
    /// x·Φ(x), exact.
    Gelu,
    /// tanh.
    Tanh,
}

impl Activation {
    /// The file of the `activation` slot.
    pub(crate) fn slot(self) -> &'static str {
        match self {
            Self::Identity => "none",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::Tanh => "tanh",
        }
    }
}

/// What happens to each output before it is stored: `activate(v + bias) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// A vector added first.
    pub bias: Option<VectorOffset>,
    /// Then a function.
    pub activation: Activation,
    /// Then the residual stream, laid out like y.
    pub residual: Option<&'a Columns>,
}

impl Epilogue<'_> {
    /// The same for the cost model, with an RMS norm of x where `norm` says so.
    fn extras(&self, norm: bool) -> cost::Extras {
        cost::Extras {
            norm,
            bias: self.bias.is_some(),
            activation: self.activation != Activation::Identity,
            residual: self.residual.is_some(),
        }
    }

    fn fill(&self, variant: Variant) -> Variant {
        let choice = |is_some| if is_some { "add" } else { "none" };
        variant
            .slot("bias", choice(self.bias.is_some()))
            .slot("activation", self.activation.slot())
            .slot("residual", choice(self.residual.is_some()))
    }
}

fn matvec_variant(caps: &Caps, dtype: DType, prologue: &'static str, epilogue: &Epilogue<'_>) -> Variant {
    let variant = Variant::new().slot("weights", dtype.slot()).slot("prologue", prologue);
    epilogue.fill(variant).team(caps).size("WG", WORKGROUP).size("ROWS", ROWS)
}

fn matmul_variant(dtype: DType, epilogue: &Epilogue<'_>) -> Variant {
    let variant = Variant::new().slot("weights", dtype.slot());
    epilogue.fill(variant).size("WG", WORKGROUP).size("COLS", TILE_COLUMNS)
}

/// y[last] = epilogue(W · prologue(x[last])) for the last column of the step, whatever their number. y holds either the same
/// columns as x or that column alone.
pub fn matvec(
    pass: &mut Pass<'_>,
    weights: &Matrix,
    x: &Columns,
    y: &Columns,
    prologue: Option<RmsPrologue>,
    epilogue: Epilogue<'_>,
) {
    check_shapes(weights, x, y);
    let slot = if prologue.is_some() { "rms_norm" } else { "none" };
    for part in 0..weights.parts.len() {
        let mut params = matmul_params(weights, part, x, y, &epilogue);
        if let Some(norm) = prologue {
            params.norm = norm.weight;
            params.eps = norm.eps;
        }
        params.out_column = u32::from(y.n_columns < x.n_columns);
        let variant = matvec_variant(pass.rec.caps(), weights.parts[part].dtype, slot, &epilogue);
        let work = cost::matvec(&part_weights(weights, part), epilogue.extras(prologue.is_some()));
        let n_groups = params.n_rows.div_ceil(ROWS);
        dispatch(pass, &MATVEC, variant, weights, part, params, (x, y), &epilogue, n_groups, work);
    }
}

/// y[column] = epilogue(W · x[column]) for every column of the step.
pub fn matmul(pass: &mut Pass<'_>, weights: &Matrix, x: &Columns, y: &Columns, epilogue: Epilogue<'_>) {
    check_shapes(weights, x, y);
    assert!(x.n_columns.is_multiple_of(TILE_COLUMNS) && y.n_columns >= x.n_columns, "columns come in whole tiles");
    for part in 0..weights.parts.len() {
        let params = matmul_params(weights, part, x, y, &epilogue);
        let variant = matmul_variant(weights.parts[part].dtype, &epilogue);
        let tiles = params.n_rows.div_ceil(4) * (x.n_columns / TILE_COLUMNS);
        let work = cost::matmul(&part_weights(weights, part), epilogue.extras(false));
        dispatch(pass, &MATMUL, variant, weights, part, params, (x, y), &epilogue, groups_for(tiles), work);
    }
}

/// The shape of a part, for the cost model.
fn part_weights(weights: &Matrix, part: usize) -> cost::Weights {
    let part = &weights.parts[part];
    cost::Weights { n_rows: part.n_rows, n_cols: weights.n_cols, dtype: part.dtype }
}

fn check_shapes(weights: &Matrix, x: &Columns, y: &Columns) {
    assert_eq!(weights.n_cols, x.n_values, "x of a product");
    assert_eq!(weights.n_rows, y.n_values, "y of a product");
}

fn matmul_params(weights: &Matrix, part: usize, x: &Columns, y: &Columns, epilogue: &Epilogue<'_>) -> MatmulParams {
    let part = &weights.parts[part];
    MatmulParams {
        planes: part.planes,
        n_rows: part.n_rows,
        first_row: part.first_row,
        n_cols: weights.n_cols,
        granules: weights.granules(),
        x_stride: x.stride() / 4,
        y_stride: y.stride(),
        bias: epilogue.bias.unwrap_or(0),
        ..bytemuck::Zeroable::zeroed()
    }
}

#[expect(clippy::too_many_arguments, reason = "the one place both products meet the recording")]
fn dispatch(
    pass: &mut Pass<'_>,
    kernel: &'static Kernel,
    variant: Variant,
    weights: &Matrix,
    part: usize,
    params: MatmulParams,
    (x, y): (&Columns, &Columns),
    epilogue: &Epilogue<'_>,
    n_groups: u32,
    work: Work,
) {
    let residual = epilogue.residual.map_or(pass.vectors, |columns| &columns.buffer);
    let buffers = [pass.state, &weights.parts[part].buffer, &x.buffer, pass.vectors, residual, &y.buffer];
    pass.rec.dispatch(kernel, variant, params, &buffers, n_groups, work);
}

/// Where `embed` finds the row ids.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// Entry `position` of a history of the whole sequence.
    ByPosition(&'a Buffer),
    /// Entry `column` of a list for this step.
    ByColumn(&'a Buffer),
}

/// Whether `embed` overwrites or adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// y = …
    Set,
    /// y += …
    Add,
}

fn embed_variant(dtype: DType, store: Store) -> Variant {
    let accumulate = u32::from(store == Store::Add);
    Variant::new().slot("weights", dtype.slot()).size("WG", WORKGROUP).size("ACCUMULATE", accumulate)
}

/// y[column] (=, +=) W[ids[column]]: rows of `weights`, dequantized.
pub fn embed(pass: &mut Pass<'_>, weights: &Matrix, ids: Ids<'_>, y: &Columns, store: Store) {
    assert_eq!(weights.n_cols, y.n_values, "width of an embedding");
    let (buffer, by_position) = match ids {
        Ids::ByPosition(buffer) => (buffer, 1),
        Ids::ByColumn(buffer) => (buffer, 0),
    };
    for (i, part) in weights.parts.iter().enumerate() {
        let params = EmbedParams {
            planes: part.planes,
            n_rows: part.n_rows,
            first_row: part.first_row,
            granules: weights.granules(),
            y_stride: y.stride() / 4,
            by_position,
            pad0: 0,
            pad1: 0,
            pad2: 0,
        };
        let n_groups = groups_for(weights.granules() * 8 * y.n_columns);
        let buffers = [pass.state, &part.buffer, buffer, &y.buffer];
        let work = cost::embed(&part_weights(weights, i), store, i == 0);
        pass.rec.dispatch(&EMBED, embed_variant(part.dtype, store), params, &buffers, n_groups, work);
    }
}

/// Every variant these functions record.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut all = Vec::new();
    for dtype in DType::all() {
        for store in [Store::Set, Store::Add] {
            all.push((&EMBED, embed_variant(dtype, store)));
        }
        for epilogue in epilogues() {
            all.push((&MATMUL, matmul_variant(dtype, &epilogue)));
            for prologue in ["none", "rms_norm"] {
                all.push((&MATVEC, matvec_variant(caps, dtype, prologue, &epilogue)));
            }
        }
    }
    // A residual is a buffer; for a variant only its slot counts.
    let with_residual: Vec<_> = all
        .iter()
        .filter(|(kernel, _)| kernel.name != "embed")
        .map(|(kernel, variant)| (*kernel, variant.clone().replace("residual", "add")))
        .collect();
    all.extend(with_residual);
    all
}

fn epilogues() -> Vec<Epilogue<'static>> {
    let mut all = Vec::new();
    for bias in [None, Some(0)] {
        for activation in [Activation::Identity, Activation::Silu, Activation::Gelu, Activation::Tanh] {
            all.push(Epilogue { bias, activation, residual: None });
        }
    }
    all
}
