//! The tables of angles that q and k are rotated by, made once for the whole context.

use crate::error::{Error, Result};
use crate::format::{Checkpoint, Config};
use crate::gpu::{Buffer, Gpu};
use crate::kernels::attention::Rope;
use crate::model::config::{Rotation, Shape};
use crate::model::rope::Scaling;

/// A buffer `(context_len, rotated / 2)` of cosines and sines for each of a model's `rotations`, which go by `rope`.
pub(super) async fn angles(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    shape: &Shape,
    (rope, rotations): (Option<Rope>, &[Rotation]),
    context_len: u32,
) -> Result<Vec<Buffer>> {
    // Where nothing rotates the buffers are only bound.
    let rotated = rope.map_or(4, |rope| rope.rotated(shape.head_dim));
    let mut tables = Vec::new();
    for (i, rotation) in rotations.iter().enumerate() {
        let mut rotation = rotation.clone();
        // The tensors of factors are about layers that see everything.
        if i == 0
            && let Some(scaling) = factors(checkpoint, shape).await?
        {
            rotation.scaling = scaling;
        }
        tables.push(table(gpu, checkpoint, &rotation, rotated, context_len)?);
    }
    Ok(tables)
}

fn table(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    Rotation { theta, scaling }: &Rotation,
    rotated: u32,
    context_len: u32,
) -> Result<Buffer> {
    let n_pairs = rotated as usize / 2;
    if let Some(found) = scaling.n_pairs().filter(|found| *found != n_pairs) {
        let reason = format!("{found} factors of the rope scaling, {n_pairs} were wanted");
        return Err(Error::format(checkpoint.name(), reason));
    }
    let n_bytes = u64::from(context_len) * n_pairs as u64 * 8;
    let buffer = gpu.buffer("rotations; a smaller context needs less", n_bytes)?;
    let angles = scaling.table(*theta, rotated, context_len);
    if !angles.as_flattened().iter().all(|value| value.is_finite()) {
        let reason = format!("a rope base of {theta} with {scaling:?} gives no angles");
        return Err(Error::format(checkpoint.name(), reason));
    }
    gpu.write(&buffer, 0, bytemuck::cast_slice(&angles));
    Ok(buffer)
}

/// The scaling that a GGUF's tensors say: `rope_freqs` (Llama 3's, worked out by the converter) or a pair of lists, for contexts
/// up to the original length and for longer ones.
async fn factors(checkpoint: &Checkpoint, shape: &Shape) -> Result<Option<Scaling>> {
    let wrong = |error: Error| match error {
        Error::Invalid { what } => Error::format(checkpoint.name(), what),
        other => other,
    };
    if checkpoint.tensor("rope_freqs.weight").is_some() {
        let factors = checkpoint.read_f32("rope_freqs.weight").await?;
        if factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
            let reason = format!("tensor rope_freqs.weight holds {} values, positive ones were wanted", factors.len());
            return Err(Error::format(checkpoint.name(), reason));
        }
        return Ok(Some(Scaling::Factors(factors)));
    }
    if checkpoint.tensor("rope_factors_long.weight").is_none() {
        return Ok(None);
    }
    let Config::Gguf(metadata) = checkpoint.config() else { return Ok(None) };
    let key = |key: &str| format!("{}.rope.scaling.{key}", shape.architecture);
    let context_len = f64::from(shape.context_len);
    let original = metadata.uint(&key("original_context_length")).map_or(context_len, |len| len as f64);
    let magnitude = metadata.float(&key("attn_factor"));
    let short = checkpoint.read_f32("rope_factors_short.weight").await?;
    let long = checkpoint.read_f32("rope_factors_long.weight").await?;
    Scaling::long(short, long, original, context_len / original, magnitude).map(Some).map_err(wrong)
}
