//! Which tensors a GGUF file holds, and which rows of a checkpoint's they are.

use crate::error::{Error, Result};
use crate::format::view::View;
use crate::format::{Checkpoint, DType, TensorInfo, is_in_layer, joined};
use std::collections::BTreeMap;

/// What GGUF calls the tensors outside the layers that architectures written by Trice have.
const OUTER: [&str; 9] = [
    "token_embd",
    "token_embd_norm",
    "token_types",
    "position_embd",
    "output_norm",
    "output",
    "cls",
    "cls.norm",
    "cls.output",
];

/// A tensor of the file.
#[derive(Debug)]
pub(super) struct Part {
    /// As the file describes it.
    pub(super) info: TensorInfo,
    pub(super) values: Values,
}

/// Where a tensor's values come from.
#[derive(Debug)]
pub(super) enum Values {
    /// From the rows of tensors, one after the other.
    Read {
        tensors: Vec<TensorInfo>,
        /// Of each tensor, the first row that is written.
        first_row: u64,
        /// Added to each value.
        offset: f32,
    },
    /// From no file.
    Given(Vec<f32>),
}

/// How a checkpoint's tensors become a file's.
pub(super) enum Layout {
    /// They are a GGUF file's.
    AsRead,
    OfFolder(FolderLayout),
}

/// How a folder's tensors do.
pub(super) struct FolderLayout {
    /// Rows of a head, where those of q and k alternate.
    pub(super) interleaved: Option<u64>,
    /// Added to the norms' weights.
    pub(super) norm_offset: f32,
    /// Rows of the table of positions that no text uses.
    pub(super) first_position: u64,
    /// Whether there is a head of texts; a pooler alone is none.
    pub(super) has_head: bool,
    /// Tensors that the folder does not have.
    pub(super) given: Vec<(String, Vec<f32>)>,
}

/// What becomes of a tensor.
enum Place {
    /// It is the file's tensor of this name.
    Alone(String),
    /// It is this of the parts, by rows, of the file's tensor of this name: the norm of a head; q, k or v.
    Among(String, u64),
    Nowhere,
}

impl Layout {
    /// The tensors of the file, and the names of those of the checkpoint that it has no place for.
    ///
    /// # Errors
    /// `Unsupported` for a tensor of a layer that GGUF has no name for; `Format` for a table of positions that is too short.
    pub(super) fn parts(&self, checkpoint: &Checkpoint) -> Result<(Vec<Part>, Vec<String>)> {
        match self {
            Self::AsRead => {
                let read = |info: &TensorInfo| Part {
                    info: info.clone(),
                    values: Values::Read { tensors: vec![info.clone()], first_row: 0, offset: 0.0 },
                };
                Ok((checkpoint.tensors().map(read).collect(), Vec::new()))
            }
            Self::OfFolder(layout) => layout.parts(checkpoint),
        }
    }
}

impl FolderLayout {
    fn parts(&self, checkpoint: &Checkpoint) -> Result<(Vec<Part>, Vec<String>)> {
        let (mut parts, mut stacks, mut left_out) = (Vec::new(), BTreeMap::<_, BTreeMap<_, _>>::new(), Vec::new());
        for tensor in checkpoint.tensors() {
            match self.place(checkpoint, tensor)? {
                Place::Alone(name) => parts.push(self.part(checkpoint, name, tensor)?),
                Place::Among(name, at) => {
                    stacks.entry(name).or_default().insert(at, tensor.clone());
                }
                Place::Nowhere => left_out.push(tensor.name.clone()),
            }
        }
        parts.extend(stacks.into_iter().map(|(name, stack)| self.stacked(name, stack.into_values().collect())));
        parts.extend(self.given.iter().map(given));
        Ok((parts, left_out))
    }

    fn place(&self, checkpoint: &Checkpoint, tensor: &TensorInfo) -> Result<Place> {
        let name = &tensor.name;
        if name.starts_with("blk.") {
            return Ok(match joined(tensor).or_else(|| head_of(name)) {
                Some((name, at)) => Place::Among(name, at),
                None => Place::Alone(name.clone()),
            });
        }
        if is_in_layer(name) {
            let what = format!("writing {} as GGUF, which has no name for its tensor {name}", checkpoint.name());
            return Err(Error::unsupported(what));
        }
        let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
        let is_known = OUTER.contains(&stem) && (self.has_head || !stem.starts_with("cls"));
        Ok(match name.as_str() {
            // Where the two are one tensor, files have it by the embedding's name.
            "output.weight" if checkpoint.tensor("token_embd.weight").is_none() => {
                Place::Alone("token_embd.weight".to_owned())
            }
            _ if is_known => Place::Alone(name.clone()),
            _ => Place::Nowhere,
        })
    }

    fn part(&self, checkpoint: &Checkpoint, name: String, tensor: &TensorInfo) -> Result<Part> {
        let mut source = tensor.clone();
        let mut info = TensorInfo { name, view: View::AsFiled, ..tensor.clone() };
        let is_rotated = info.name.contains(".attn_q.") || info.name.contains(".attn_k.");
        if let Some(len) = self.interleaved.filter(|_| is_rotated) {
            source.view = View::Interleaved { len };
            if info.name.ends_with(".bias") {
                // Views are of rows.
                source.shape = vec![tensor.cols(), 1];
            }
        }
        let mut first_row = 0;
        if info.name == "position_embd.weight" && self.first_position > 0 {
            first_row = self.first_position;
            let Some(rows) = tensor.rows().checked_sub(first_row).filter(|rows| *rows > 0) else {
                let (rows, name) = (tensor.rows(), &info.name);
                let reason = format!("tensor {name} has {rows} rows, more than {first_row} were wanted");
                return Err(Error::format(checkpoint.name(), reason));
            };
            info.n_bytes = info.n_bytes / tensor.rows() * rows;
            info.shape = vec![rows, tensor.cols()];
        }
        let offset = self.offset(&info.name);
        Ok(Part { info, values: Values::Read { tensors: vec![source], first_row, offset } })
    }

    /// Rows of all `tensors`, which are of one type and width.
    fn stacked(&self, name: String, tensors: Vec<TensorInfo>) -> Part {
        let (n_bytes, n_rows) =
            (tensors.iter().map(|tensor| tensor.n_bytes).sum(), tensors.iter().map(TensorInfo::rows).sum());
        let (cols, dtype) = (tensors[0].cols(), tensors[0].dtype);
        let shape = if name.ends_with(".bias") { vec![n_rows] } else { vec![n_rows, cols] };
        let info = TensorInfo { n_bytes, dtype, ..in_memory(name, shape) };
        let offset = self.offset(&info.name);
        Part { info, values: Values::Read { tensors, first_row: 0, offset } }
    }

    fn offset(&self, name: &str) -> f32 {
        if name.ends_with("norm.weight") { self.norm_offset } else { 0.0 }
    }
}

fn given((name, values): &(String, Vec<f32>)) -> Part {
    Part { info: in_memory(name.clone(), vec![values.len() as u64]), values: Values::Given(values.clone()) }
}

/// A tensor of 32-bit floats that stands in no file.
fn in_memory(name: String, shape: Vec<u64>) -> TensorInfo {
    let n_bytes = 4 * shape.iter().product::<u64>();
    TensorInfo { name, dtype: DType::F32, shape, file: 0, offset: 0, n_bytes, view: View::AsFiled }
}

/// `blk.1.attn_q_norm.weight` and 2 of `blk.1.attn_q_norm.2.weight`.
fn head_of(name: &str) -> Option<(String, u64)> {
    let (stem, kind) = name.rsplit_once('.')?;
    let (stem, head) = stem.rsplit_once('.')?;
    Some((format!("{stem}.{kind}"), head.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::head_of;

    #[test]
    fn norms_of_heads_are_told_from_those_of_layers() {
        assert_eq!(head_of("blk.1.attn_q_norm.12.weight"), Some(("blk.1.attn_q_norm.weight".to_owned(), 12)));
        assert_eq!(head_of("blk.1.attn_q_norm.weight"), None);
    }
}
