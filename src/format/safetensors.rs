//! safetensors reader: the header through the `safetensors` crate, bounded before it is read and checked against the
//! file's length, and the names of its tensors as GGUF has them. Holds no tensor data.

use super::names::Family;
use super::view::View;
use super::{DType, TensorInfo, shape_fits};
use crate::error::{Error, Result};
use crate::source::Source;
use ::safetensors::tensor::{Dtype as FileType, Metadata as FileHeader};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// Bytes of JSON that a header may hold: the format's own limit.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The name of the list of shards.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// What a safetensors file says about itself.
#[derive(Debug)]
pub struct Header {
    /// The file's free-form texts.
    pub metadata: HashMap<String, String>,
    /// Its float tensors under GGUF names; offsets count from the start of the file.
    pub tensors: Vec<TensorInfo>,
    /// The names of all its tensors as they stand in the file.
    pub(crate) file_names: BTreeSet<String>,
}

/// Reads and checks the header of `source`, which becomes `TensorInfo::file` number `file`; `family` says what its tensors are.
pub async fn read_header(source: &dyn Source, file: usize, family: &Family) -> Result<Header> {
    let bad = |reason: String| Error::format(source.name(), reason);
    if source.len() < 8 {
        return Err(bad(format!("a safetensors file of 8 bytes or more wanted, found {}", source.len())));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&source.read(0, 8).await?);
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES.min(source.len() - 8) {
        let found = source.len();
        return Err(bad(format!(
            "a header of at most {MAX_HEADER_BYTES} bytes inside the file of {found} wanted, found {length}"
        )));
    }
    let json = source.read(8, length as usize).await?;
    let header: FileHeader = serde_json::from_slice(&json).map_err(|error| bad(format!("the header: {error}")))?;
    let (wanted, found) = (header.data_len() as u64, source.len() - 8 - length);
    if wanted != found {
        return Err(bad(format!("{wanted} bytes of tensors wanted after the header, found {found}")));
    }
    let tensors = tensors(source.name(), &header, (file, 8 + length), family)?;
    let file_names = header.tensors().into_keys().collect();
    Ok(Header { metadata: header.metadata().clone().unwrap_or_default(), tensors, file_names })
}

fn tensors(
    file_name: &str,
    header: &FileHeader,
    (file, data_start): (usize, u64),
    family: &Family,
) -> Result<Vec<TensorInfo>> {
    let mut tensors = Vec::new();
    for (name, info) in header.tensors() {
        let Some(translated) = family.gguf_name(&name) else { continue };
        let Some(dtype) = float_type(file_name, &name, info.dtype)? else { continue };
        let shape: Vec<u64> = info.shape.iter().map(|&dim| dim as u64).collect();
        if !shape_fits(&shape) {
            return Err(Error::format(file_name, format!("tensor {name}: shape {shape:?} overflows")));
        }
        let (start, end) = info.data_offsets;
        let offset = data_start + start as u64;
        let stored = TensorInfo {
            name: translated,
            dtype,
            shape,
            file,
            offset,
            n_bytes: (end - start) as u64,
            view: View::AsFiled,
        };
        tensors.extend(family.meant(stored));
    }
    Ok(tensors)
}

/// Our type for the file's; none for integers and truth values, which are buffers, not weights.
fn float_type(file: &str, name: &str, found: FileType) -> Result<Option<DType>> {
    match found {
        FileType::F32 => Ok(Some(DType::F32)),
        FileType::F16 => Ok(Some(DType::F16)),
        FileType::BF16 => Ok(Some(DType::BF16)),
        FileType::BOOL
        | FileType::U8
        | FileType::I8
        | FileType::U16
        | FileType::I16
        | FileType::U32
        | FileType::I32
        | FileType::U64
        | FileType::I64
            if !name.ends_with("weight") =>
        {
            Ok(None)
        }
        other => Err(Error::unsupported(format!("{file}: tensor {name} of type {other}"))),
    }
}

/// Holds the shards that were opened against the list of shards: each tensor that it names is there.
pub(crate) fn check_index(index: &serde_json::Value, files: &[Rc<dyn Source>], headers: &[Header]) -> Result<()> {
    let Some(weight_map) = index.get("weight_map").and_then(|map| map.as_object()) else {
        return Err(Error::format(INDEX_FILE, "a \"weight_map\" object wanted, found none"));
    };
    for (name, shard) in weight_map {
        if !headers.iter().any(|header| header.file_names.contains(name)) {
            let opened: Vec<&str> = files.iter().map(|file| file.name()).collect();
            return Err(Error::format(
                INDEX_FILE,
                format!("tensor {name} in {shard} wanted, found it in none of {}", opened.join(", ")),
            ));
        }
    }
    Ok(())
}
