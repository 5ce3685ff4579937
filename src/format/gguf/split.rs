//! Models cut into several GGUF files (`name-00001-of-00003.gguf`): checks that the parts belong together and are
//! all there. The first part holds the model's metadata; every part holds its own number and tensors.

use super::Header;
use crate::error::{Error, Result};
use crate::format::{Metadata, TensorInfo};
use crate::source::Source;
use std::rc::Rc;

/// Joins the headers of `files`, in order: the metadata of part 0 and the tensors of all.
pub(crate) fn merge_splits(files: &[Rc<dyn Source>], headers: Vec<Header>) -> Result<(Metadata, Vec<TensorInfo>)> {
    let declared = headers.first().and_then(|header| header.metadata.uint("split.count")).unwrap_or(1);
    if declared.max(1) != files.len() as u64 {
        return Err(Error::format(
            files[0].name(),
            format!("a model split into {} files: {} given", declared.max(1), files.len()),
        ));
    }
    let mut metadata = None;
    let mut tensors = Vec::new();
    let mut n_declared = None;
    for (index, (file, header)) in files.iter().zip(headers).enumerate() {
        if files.len() > 1 {
            check_part(file.as_ref(), &header.metadata, index as u64, declared)?;
            n_declared = n_declared.or(header.metadata.uint("split.tensors.count"));
        }
        metadata.get_or_insert(header.metadata);
        tensors.extend(header.tensors);
    }
    if let Some(n_declared) = n_declared.filter(|&n| n != tensors.len() as u64) {
        return Err(Error::format(
            files[0].name(),
            format!("{n_declared} tensors wanted in all parts, found {}", tensors.len()),
        ));
    }
    Ok((metadata.unwrap_or_default(), tensors))
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
