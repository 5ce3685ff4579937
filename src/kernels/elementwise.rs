//! Work per column without weights: `norm.wgsl`, `gate.wgsl`, `pool.wgsl`.

use super::matmul::Activation;
use super::{Pass, VectorOffset, WORKGROUP, cost, items_for_teams};
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::tensor::Columns;
use crate::gpu::wgsl::wgsl;
use crate::gpu::{Buffer, Grid};

/// RMSNorm or LayerNorm of every column.
pub static NORM: Kernel = Kernel {
    name: "norm",
    source: wgsl!("norm"),
    params: NormParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::ReadWrite],
};

/// activate(gate)·up of every column.
pub static GATE: Kernel = Kernel {
    name: "gate",
    source: wgsl!("gate"),
    params: GateParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::ReadWrite],
};

/// One vector per text of a ragged batch.
pub static POOL: Kernel = Kernel {
    name: "pool",
    source: wgsl!("pool"),
    params: PoolParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
};

/// Columns of a workgroup of `norm` at most, texts of one of `pool`.
const PER_GROUP: u32 = 8;

params! {
    /// Params of `norm.wgsl`.
    NormParams {
        n_cols: u32,
        stride: u32,
        norm: u32,
        bias: u32,
        eps: f32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

params! {
    /// Params of `gate.wgsl`.
    GateParams {
        n_cols: u32,
        x_stride: u32,
        y_stride: u32,
        pad0: u32,
    }
}

params! {
    /// Params of `pool.wgsl`.
    PoolParams {
        x_stride: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

/// How a norm treats its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// x·g / sqrt(mean(x²) + eps).
    Rms,
    /// (x − mean)·g / sqrt(var + eps) + b, with b's place.
    Layer {
        /// The bias.
        bias: VectorOffset,
    },
}

impl NormKind {
    /// The file of the `norm_kind` slot.
    fn slot(self) -> &'static str {
        match self {
            Self::Rms => "rms",
            Self::Layer { .. } => "layer",
        }
    }
}

/// A norm as the model stores it.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights {
    /// What it does.
    pub kind: NormKind,
    /// The weight.
    pub weight: VectorOffset,
    /// Added to the mean square or the variance.
    pub eps: f32,
}

fn norm_variant(caps: &Caps, kind: NormKind, has_residual: bool) -> Variant {
    let residual = if has_residual { "add" } else { "none" };
    let variant = Variant::new().slot("norm_kind", kind.slot()).slot("residual", residual);
    variant.team(caps).size("WG", WORKGROUP).size("COLS", items_for_teams(caps, PER_GROUP))
}

/// y[column] = normalized x[column] + residual[column].
pub fn norm(pass: &mut Pass<'_>, weights: NormWeights, x: &Columns, residual: Option<&Columns>, y: &Columns) {
    assert_eq!(x.n_values, y.n_values, "values of a norm");
    let bias = match weights.kind {
        NormKind::Rms => 0,
        NormKind::Layer { bias } => bias,
    };
    let (norm, eps) = (weights.weight, weights.eps);
    let params = NormParams { n_cols: x.n_values, stride: x.stride() / 4, norm, bias, eps, pad0: 0, pad1: 0, pad2: 0 };
    let variant = norm_variant(pass.rec.caps(), weights.kind, residual.is_some());
    let added = residual.map_or(pass.vectors, |columns| &columns.buffer);
    let buffers = [pass.state, &x.buffer, pass.vectors, added, &y.buffer];
    let work = cost::norm(x.n_values, weights.kind != NormKind::Rms, residual.is_some());
    let grid = Grid::threads(x.n_columns, 1, items_for_teams(pass.rec.caps(), PER_GROUP));
    pass.rec.dispatch(&NORM, variant, params, &buffers, grid, work);
}

/// Functions of gates.
pub(super) const GATES: [Activation; 4] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu];

fn gate_variant(activation: Activation) -> Variant {
    Variant::new().slot("activation", activation.slot()).size("WG", WORKGROUP)
}

/// y[column][i] = activate(x[column][i]) · x[column][n + i], n the values of y: x holds gate, then up.
pub fn gate(pass: &mut Pass<'_>, activation: Activation, x: &Columns, y: &Columns) {
    assert_eq!(x.n_values, 2 * y.n_values, "gate and up");
    let params = GateParams { n_cols: y.n_values, x_stride: x.stride(), y_stride: y.stride(), pad0: 0 };
    let grid = Grid::threads(y.n_columns, y.n_values, WORKGROUP);
    let buffers = [pass.state, &x.buffer, &y.buffer];
    pass.rec.dispatch(&GATE, gate_variant(activation), params, &buffers, grid, cost::gate(y.n_values));
}

/// How the columns of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Mean over all tokens, the special ones included.
    Mean,
    /// The first token's vector.
    Cls,
    /// The last token's vector.
    Last,
}

/// Whether pooled vectors are scaled to length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scaling {
    /// As they are.
    Raw,
    /// Length 1.
    Unit,
}

fn pool_variant(caps: &Caps, pooling: Pooling, scaling: Scaling) -> Variant {
    let slot = match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::Last => "last",
    };
    let variant = Variant::new()
        .slot("pooling", slot)
        .team(caps)
        .size("WG", WORKGROUP)
        .size("TEXTS", items_for_teams(caps, PER_GROUP));
    variant.size("NORMALIZE", u32::from(scaling == Scaling::Unit))
}

/// y[text] = the pooled columns of each text; the state of `pass` counts texts. `texts`: first and one-past-last column.
pub fn pool(pass: &mut Pass<'_>, pooling: Pooling, scaling: Scaling, texts: &Buffer, x: &Columns, y: &Columns) {
    assert_eq!(x.n_values, y.n_values, "values of a pooled vector");
    let params = PoolParams { x_stride: x.stride() / 4, pad0: 0, pad1: 0, pad2: 0 };
    let variant = pool_variant(pass.rec.caps(), pooling, scaling);
    let buffers = [pass.state, texts, &x.buffer, &y.buffer];
    let work = cost::pool(y.n_values, pooling, scaling);
    let grid = Grid::threads(y.n_columns, 1, items_for_teams(pass.rec.caps(), PER_GROUP));
    pass.rec.dispatch(&POOL, variant, params, &buffers, grid, work);
}

/// Every variant these functions record.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut all: Vec<(&'static Kernel, Variant)> = Vec::new();
    for kind in [NormKind::Rms, NormKind::Layer { bias: 0 }] {
        all.extend([false, true].map(|has_residual| (&NORM, norm_variant(caps, kind, has_residual))));
    }
    all.extend(GATES.map(|activation| (&GATE, gate_variant(activation))));
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
        all.extend([Scaling::Raw, Scaling::Unit].map(|scaling| (&POOL, pool_variant(caps, pooling, scaling))));
    }
    all
}
