//! Models cut into several GGUF files (`name-00001-of-00003.gguf`): checks that the parts belong together and are
//! all there. The first part holds the model's metadata; every part holds its own number and tensors.

use super::Header;
use crate::error::{Error, Result};
use crate::format::{Metadata, TensorInfo};
use crate::source::Source;
use std::rc::Rc;

/// Joins the headers of `files`, in order: the metadata of part 0 and the tensors of all.
pub(crate) fn merge_splits(files: &[Rc<dyn Source>], headers: Vec<Header>) -> Result<(Metadata, Vec<TensorInfo>)> {
    let Some(first) = files.first() else { return Ok(Default::default()) };
    let declared = headers.first().and_then(|header| header.metadata.uint("split.count")).unwrap_or(1).max(1);
    if declared != files.len() as u64 {
        let reason = format!("a model split into {declared} files: {} given", files.len());
        return Err(Error::format(first.name(), reason));
    }
    let n_declared = headers.first().and_then(|header| header.metadata.uint("split.tensors.count"));
    let mut metadata = None;
    let mut tensors = Vec::new();
    for (index, (file, header)) in files.iter().zip(headers).enumerate() {
        if files.len() > 1 {
            check_part(file.as_ref(), &header.metadata, index as u64, declared)?;
            if header.metadata.uint("split.tensors.count") != n_declared {
                return Err(Error::format(
                    file.name(),
                    "belongs to another model: its \"split.tensors.count\" differs",
                ));
            }
        }
        metadata.get_or_insert(header.metadata);
        tensors.extend(header.tensors);
    }
    match n_declared {
        Some(n) if n != tensors.len() as u64 => {
            let reason = format!("{n} tensors wanted in all parts, found {}", tensors.len());
            Err(Error::format(first.name(), reason))
        }
        _ => Ok((metadata.unwrap_or_default(), tensors)),
    }
}

fn check_part(file: &dyn Source, metadata: &Metadata, index: u64, count: u64) -> Result<()> {
    let found = (metadata.uint("split.no"), metadata.uint("split.count"));
    if found == (Some(index), Some(count)) {
        return Ok(());
    }
    let word = |value: Option<u64>| value.map_or("no number".to_owned(), |value| value.to_string());
    Err(Error::format(
        file.name(),
        format!("part {index} of {count} wanted, found {} of {}", word(found.0), word(found.1)),
    ))
}
