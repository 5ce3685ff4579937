//! A model written to a GGUF file, its matrices rounded on the way, tensor by tensor: never whole in memory.

mod described;
mod keys;
mod tensors;
mod text;

use crate::error::Result;
use crate::format::gguf::Writer;
use crate::format::mix::Mix;
use crate::format::{Checkpoint, Config, Metadata, TensorInfo, Value};
use described::describe;
use serde::Serialize;
use std::io::Write;
use tensors::{Layout, Part, Values};
use text::text_keys;

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
    /// Tensors of a folder that nothing in such a file uses.
    pub left_out: Vec<String>,
}

/// A model as a GGUF file describes it.
pub struct Export {
    checkpoint: Checkpoint,
    metadata: Metadata,
    layout: Layout,
}

impl Export {
    /// What a GGUF file says already; a folder's `config.json` translated.
    ///
    /// # Errors
    /// `Unsupported` for a folder with a part that no key of such a file says, naming it.
    pub async fn new(checkpoint: Checkpoint) -> Result<Self> {
        let (metadata, layout) = match checkpoint.config() {
            Config::Gguf(metadata) => (metadata.clone(), Layout::AsRead),
            Config::HuggingFace(_) => describe(&checkpoint).await?,
        };
        Ok(Self { checkpoint, metadata, layout })
    }

    /// The same with a folder's tokenizer and chat template.
    ///
    /// # Errors
    /// `Unsupported` for a tokenizer that GGUF's keys cannot describe.
    pub async fn with_text(mut self) -> Result<Self> {
        if let Config::HuggingFace(_) = self.checkpoint.config() {
            let keys = text_keys(&self.checkpoint, &self.metadata).await?;
            self.metadata.0.extend(keys);
        }
        Ok(self)
    }

    /// Writes it to `out`, called `name` in errors: matrices in the types of `mix`, all else in 32-bit floats. `on_bytes` hears how
    /// many bytes of how many are written, and its error ends it.
    ///
    /// # Errors
    /// `Unsupported` for types that Trice only reads and for tensors that GGUF has no name for; `Format` for weights that are no
    /// finite numbers or that their type cannot hold; `Io` where `out` takes no more.
    pub async fn write<W: Write>(
        self,
        mix: &Mix,
        out: W,
        name: &str,
        on_bytes: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<Written> {
        let checkpoint = self.checkpoint.in_mix(mix)?;
        let (parts, left_out) = self.layout.parts(&checkpoint)?;
        let mut keys = self.metadata;
        keys.0.insert("general.quantization_version".to_owned(), Value::U64(2));
        keys.0.remove("general.file_type");
        keys.0.extend(mix.file_type().map(|number| ("general.file_type".to_owned(), Value::U64(number))));
        let infos: Vec<&TensorInfo> = parts.iter().map(|part| &part.info).collect();
        let mut writer = Writer::new(out, name, &keys, &infos)?;
        let (mut done, total) = (0, infos.iter().map(|info| info.n_bytes).sum());
        for part in &parts {
            write_part(&checkpoint, part, &mut |bytes| {
                on_bytes(done, total)?;
                done += bytes.len() as u64;
                writer.write(bytes)
            })
            .await?;
        }
        writer.finish()?;
        on_bytes(done, total)?;
        let n_layers = checkpoint.n_layers();
        let falls_back = |info: &&&TensorInfo| Mix::rounds(info) && mix.falls_back(info, n_layers);
        let fell_back = infos.iter().filter(falls_back).map(|info| (info.name.clone(), info.dtype.name()));
        let n_params = infos.iter().map(|info| info.rows() * info.cols()).sum();
        Ok(Written { n_params, weight_bytes: total, fell_back: fell_back.collect(), left_out })
    }
}

/// Hands the bytes of `part` to `put`, piece by piece.
async fn write_part(checkpoint: &Checkpoint, part: &Part, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let (tensors, first_row, offset) = match &part.values {
        Values::Given(values) => return put(bytemuck::cast_slice(values)),
        Values::Read { tensors, first_row, offset } => (tensors, *first_row, *offset),
    };
    for tensor in tensors {
        let row_bytes = tensor.dtype.row_bytes(tensor.cols()).unwrap_or(0).max(1);
        let step = (PIECE_BYTES / row_bytes).max(1);
        for first in (first_row..tensor.rows()).step_by(step as usize) {
            let mut rows = checkpoint.read_finite_rows(tensor, first, step.min(tensor.rows() - first)).await?;
            if offset != 0.0 {
                // Norms, which are in 32-bit floats by now.
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(&rows);
                rows = values.iter().flat_map(|value| (value + offset).to_ne_bytes()).collect();
            }
            put(&rows)?;
        }
    }
    Ok(())
}

/// Writes `checkpoint` with its tokenizer and chat template: `Export` in one step.
///
/// # Errors
/// As of its steps.
pub async fn write_gguf<W: Write>(
    checkpoint: Checkpoint,
    mix: &Mix,
    out: W,
    name: &str,
    on_bytes: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Written> {
    Export::new(checkpoint).await?.with_text().await?.write(mix, out, name, on_bytes).await
}
