//! Whether a device computes right: products of every type of weights that is read, beside the CPU's.

use crate::error::Result;
use crate::format::DType;
use crate::gpu::Gpu;
use crate::gpu::choices::{Choices, Math};
use crate::kernels::matmul::TILE_COLUMNS;
use crate::kernels::probe::Probe;
use serde::Serialize;

/// What a device made of one type of weights.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The type, such as `Q4_K`.
    pub dtype: &'static str,
    /// What the products were computed with.
    pub math: Math,
    /// Columns that the weights were multiplied by.
    pub n_columns: u32,
    /// Squared error of the worst column over the squares of the CPU's products (NMSE); none is given where it is no number.
    pub nmse: Option<f64>,
    /// Whether it is within what this arithmetic allows.
    pub is_right: bool,
}

/// The largest NMSE of right products.
fn bound(math: Math) -> f64 {
    match math {
        Math::F32 => 1e-6,
        Math::F16 => 1e-5,
        Math::Int8 => 1e-3,
    }
}

/// Multiplies a matrix of every type by one column and by many, with the device's own choice of shaders and with 32-bit floats,
/// and with 16-bit floats where it has them. `on_type` hears how many of the types are done.
///
/// # Errors
/// `Gpu` when the device refuses a shader or is lost.
pub async fn check(gpu: &Gpu, on_type: &mut dyn FnMut(usize, usize)) -> Result<Vec<Checked>> {
    let own = gpu.choices();
    let mut ways = vec![Math::F32];
    ways.extend(gpu.caps().f16.then_some(Math::F16));
    let mut all = Vec::new();
    let dtypes: Vec<DType> = DType::all().collect();
    for (i, dtype) in dtypes.iter().copied().enumerate() {
        on_type(i, dtypes.len());
        let probe = Probe::new(gpu, &format!("110m:{}", dtype.name()), &[&["blk.0.attn_q.weight"]]).await?;
        for math in &ways {
            // One column is in 32-bit floats always.
            let columns: &[u32] = if *math == Math::F32 { &[1, 2 * TILE_COLUMNS] } else { &[2 * TILE_COLUMNS] };
            for n_columns in columns {
                let (_, nmse) = probe.run(gpu, Choices { math: *math, ..own }, *n_columns).await?;
                let (is_right, nmse) = (nmse <= bound(*math), nmse.is_finite().then_some(nmse));
                all.push(Checked { dtype: dtype.name(), math: *math, n_columns: *n_columns, nmse, is_right });
            }
        }
    }
    on_type(dtypes.len(), dtypes.len());
    Ok(all)
}
