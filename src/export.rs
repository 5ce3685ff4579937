//! A model written to a GGUF file, its matrices rounded on the way, tensor by tensor: never whole in memory.

mod metadata;

use crate::error::Result;
use crate::format::gguf::Writer;
use crate::format::mix::Mix;
use crate::format::{Checkpoint, TensorInfo, Value};
use metadata::{Export, interleave_heads};
use serde::Serialize;
use std::io::Write;

/// Bytes of a tensor that are read, rounded and written at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// What was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Weights.
    pub n_params: u64,
    /// Bytes of all tensors.
    pub weight_bytes: u64,
    /// Matrices that got another type than the mix says, as their rows are no whole blocks of it: name and type.
    pub fell_back: Vec<(String, &'static str)>,
}

/// Writes `checkpoint` to `out`, called `name` in errors: matrices in the types of `mix`, all else in 32-bit floats. `on_bytes` hears
/// how many bytes of how many are written, and its error ends it.
///
/// # Errors
/// `Unsupported` for a folder that cannot be described in GGUF and for types that Trice only reads; `Format` for weights that are
/// no finite numbers or that their type cannot hold; `Io` where `out` takes no more.
pub async fn write_gguf<W: Write>(
    checkpoint: Checkpoint,
    mix: &Mix,
    out: W,
    name: &str,
    on_bytes: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Written> {
    let export = Export::new(&checkpoint).await?;
    let checkpoint = checkpoint.in_mix(mix)?;
    let tensors: Vec<&TensorInfo> = checkpoint.tensors().collect();
    let mut keys = export.metadata.clone();
    keys.0.insert("general.quantization_version".to_owned(), Value::U64(2));
    keys.0.remove("general.file_type");
    keys.0.extend(mix.file_type().map(|number| ("general.file_type".to_owned(), Value::U64(number))));
    let added = export.added();
    let described: Vec<&TensorInfo> = tensors.iter().copied().chain(added.iter().map(|(tensor, _)| tensor)).collect();
    let mut writer = Writer::new(out, name, &keys, &described)?;
    let (mut done, total) = (0, checkpoint.weight_bytes());
    for tensor in &tensors {
        let row_bytes = tensor.dtype.row_bytes(tensor.cols()).unwrap_or(0).max(1);
        let head_rows = export.head_rows(tensor);
        let together = head_rows.unwrap_or(1);
        let step = (PIECE_BYTES / row_bytes / together).max(1) * together;
        for first in (0..tensor.rows()).step_by(step as usize) {
            on_bytes(done, total)?;
            let rows = checkpoint.read_finite_rows(tensor, first, step.min(tensor.rows() - first)).await?;
            let rows = match head_rows {
                Some(head_rows) => interleave_heads(&rows, row_bytes as usize, head_rows as usize),
                None => rows,
            };
            writer.write(&rows)?;
            done += rows.len() as u64;
        }
    }
    if let Some((_, values)) = added {
        writer.write(bytemuck::cast_slice(values))?;
    }
    writer.finish()?;
    on_bytes(done, total)?;
    let n_layers = checkpoint.n_layers();
    let falls_back = |tensor: &&&TensorInfo| Mix::rounds(tensor) && mix.falls_back(tensor, n_layers);
    let fell_back = tensors.iter().filter(falls_back).map(|tensor| (tensor.name.clone(), tensor.dtype.name()));
    Ok(Written { n_params: checkpoint.n_params(), weight_bytes: total, fell_back: fell_back.collect() })
}
