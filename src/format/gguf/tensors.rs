//! What a header says of its tensors, checked: types, sizes, and where their bytes lie.

use super::parse::{Parsed, Stop, bad};
use crate::format::{DType, TensorInfo, shape_fits};
use std::collections::HashSet;

/// Bytes that a tensor's type and shape ask for.
pub(super) fn tensor_bytes(name: &str, dtype: DType, shape: &[u64]) -> Parsed<u64> {
    let (cols, block) = (shape[shape.len() - 1], dtype.block_len() as u64);
    if !cols.is_multiple_of(block) {
        return bad(format!(
            "tensor {name}: {} rows of a multiple of {block} weights wanted, found {cols}",
            dtype.name()
        ));
    }
    let n_rows = || shape_fits(shape).then(|| shape[..shape.len() - 1].iter().product::<u64>());
    match dtype.row_bytes(cols).and_then(|row_bytes| row_bytes.checked_mul(n_rows()?)) {
        Some(n_bytes) => Ok(n_bytes),
        None => bad(format!("tensor {name}: shape {shape:?} overflows")),
    }
}

/// A type that Trice does not read: ggml has it, had it, or never had it.
pub(super) fn unknown_type(name: &str, id: u32) -> Stop {
    let known = match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        4 | 5 | 31..=33 | 36..=38 => "a type that ggml has removed",
        _ => "unknown to ggml",
    };
    let ours: Vec<&str> = DType::all().map(DType::name).collect();
    Stop::Unsupported(format!("tensor {name} of type {id} ({known}); Trice reads {}", ours.join(", ")))
}

/// The one place that computes where a tensor ends: `None` when it wraps or leaves the file.
fn tensor_end(data_start: u64, tensor: &TensorInfo, file_len: u64) -> Option<u64> {
    let end = data_start.checked_add(tensor.offset)?.checked_add(tensor.n_bytes)?;
    (end <= file_len).then_some(end)
}

/// Names are unique; regions are aligned, inside the file, disjoint, and hide nothing between or after them.
/// Turns offsets into offsets from the start of the file.
pub(super) fn check_regions(tensors: &mut [TensorInfo], data_start: u64, alignment: u64, file_len: u64) -> Parsed<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
        return bad(format!("tensor {} stands twice", twice.name));
    }
    let mut regions = Vec::with_capacity(tensors.len());
    for tensor in tensors.iter_mut() {
        let (name, offset, n_bytes) = (&tensor.name, tensor.offset, tensor.n_bytes);
        if !offset.is_multiple_of(alignment) {
            return bad(format!("tensor {name}: an offset aligned to {alignment} wanted, found {offset}"));
        }
        let Some(end) = tensor_end(data_start, tensor, file_len) else {
            return bad(format!(
                "tensor {name}: {n_bytes} bytes at data offset {offset} wanted, the file ends at {file_len} \
                 (data begin at {data_start})"
            ));
        };
        regions.push((end - n_bytes, end, name.clone()));
        tensor.offset = end - n_bytes;
    }
    regions.sort();
    let mut last = data_start.min(file_len);
    for (start, end, name) in regions {
        if start < last {
            return bad(format!("tensor {name} begins at {start}, inside the tensor that ends at {last}"));
        }
        if start - last >= alignment {
            return bad(format!("{} bytes before tensor {name} belong to no tensor", start - last));
        }
        last = end;
    }
    if file_len - last >= alignment {
        return bad(format!("{} bytes after the last tensor belong to no tensor", file_len - last));
    }
    Ok(())
}
