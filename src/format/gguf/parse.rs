//! Bytes of a header to `Header`: a cursor that bounds every count before it allocates.

use super::tensors::{check_regions, tensor_bytes, unknown_type};
use super::{
    ALIGNMENTS, DEFAULT_ALIGNMENT, Header, MAGIC, MAX_ARRAY_LEN, MAX_DIMS, MAX_HEADER_BYTES, MAX_KEY_BYTES, MAX_KEYS,
    MAX_NAME_BYTES, MAX_STRING_BYTES, MAX_TENSORS,
};
use crate::format::view::View;
use crate::format::{DType, Metadata, TensorInfo, Value};

/// Why parsing ended early.
pub(super) enum Stop {
    /// The window is too short: bytes up to this offset are wanted, and the file has them.
    NeedMore(u64),
    /// The file is wrong.
    Bad(String),
    /// The file holds something that Trice does not read.
    Unsupported(String),
}

pub(super) type Parsed<T> = Result<T, Stop>;

pub(super) fn bad<T>(reason: impl Into<String>) -> Parsed<T> {
    Err(Stop::Bad(reason.into()))
}

/// The file's own numbers for the kinds of values.
pub(super) mod kind {
    pub(in crate::format::gguf) const U8: u32 = 0;
    pub(in crate::format::gguf) const I8: u32 = 1;
    pub(in crate::format::gguf) const U16: u32 = 2;
    pub(in crate::format::gguf) const I16: u32 = 3;
    pub(in crate::format::gguf) const U32: u32 = 4;
    pub(in crate::format::gguf) const I32: u32 = 5;
    pub(in crate::format::gguf) const F32: u32 = 6;
    pub(in crate::format::gguf) const BOOL: u32 = 7;
    pub(in crate::format::gguf) const STRING: u32 = 8;
    pub(in crate::format::gguf) const ARRAY: u32 = 9;
    pub(in crate::format::gguf) const U64: u32 = 10;
    pub(in crate::format::gguf) const I64: u32 = 11;
    pub(in crate::format::gguf) const F64: u32 = 12;
}

/// A number of any kind, before widening.
enum Scalar {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
}

/// Where the header is being read.
pub(super) struct Parser<'a> {
    window: &'a [u8],
    file_len: u64,
    file: usize,
    position: usize,
    array_elements: u64,
}

impl<'a> Parser<'a> {
    /// Reads `window`, the first bytes of a file of `file_len` bytes.
    pub(super) fn new(window: &'a [u8], file_len: u64, file: usize) -> Self {
        Self { window, file_len, file, position: 0, array_elements: 0 }
    }

    /// The whole header.
    pub(super) fn header(mut self) -> Parsed<Header> {
        self.magic_and_version()?;
        // The smallest tensor: 8 length + 1 name + 4 dims + 8 one dim + 4 type + 8 offset; the smallest key: 8 + 1 + 4 + 1.
        let n_tensors = self.count("tensors", MAX_TENSORS, 33)?;
        let n_keys = self.count("metadata keys", MAX_KEYS, 14)?;
        let (metadata, alignment) = self.metadata(n_keys)?;
        let mut tensors = Vec::with_capacity(n_tensors as usize);
        for index in 0..n_tensors {
            tensors.push(self.tensor(index)?);
        }
        let data_start = (self.position as u64).next_multiple_of(alignment);
        check_regions(&mut tensors, data_start, alignment, self.file_len)?;
        Ok(Header { metadata, tensors })
    }

    fn magic_and_version(&mut self) -> Parsed<()> {
        let magic = self.take(4, "the magic")?;
        if magic != MAGIC {
            return bad(format!("\"GGUF\" wanted at the start, found {magic:02x?}"));
        }
        match self.u32("the version")? {
            2 | 3 => Ok(()),
            version if matches!(version.swap_bytes(), 1..=3) => {
                Err(Stop::Unsupported("a big-endian GGUF file".to_owned()))
            }
            version => bad(format!("GGUF version 2 or 3 wanted, found {version}")),
        }
    }

    /// The next `len` bytes.
    fn take(&mut self, len: u64, what: &str) -> Parsed<&'a [u8]> {
        let position = self.position as u64;
        let Some(end) = position.checked_add(len).filter(|&end| end <= self.file_len) else {
            let file_len = self.file_len;
            return bad(format!("{what}: {len} bytes wanted at {position}, the file ends at {file_len}"));
        };
        if end > MAX_HEADER_BYTES {
            return bad(format!("{what}: the header is longer than {MAX_HEADER_BYTES} bytes"));
        }
        let Some(bytes) = self.window.get(self.position..end as usize) else {
            return Err(Stop::NeedMore(end));
        };
        self.position = end as usize;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Parsed<[u8; N]> {
        let bytes = self.take(N as u64, what)?;
        let mut out = [0; N];
        out.copy_from_slice(bytes);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Parsed<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Parsed<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A number of things of at least `min_bytes` each, which must fit the rest of the file.
    fn count(&mut self, what: &str, limit: u64, min_bytes: u64) -> Parsed<u64> {
        let count = self.u64(what)?;
        if count > limit {
            return bad(format!("at most {limit} {what} wanted, found {count}"));
        }
        let left = self.file_len - self.position as u64;
        if count.checked_mul(min_bytes).is_none_or(|bytes| bytes > left) {
            return bad(format!("{count} {what} do not fit the {left} bytes left in the file"));
        }
        Ok(count)
    }

    fn string(&mut self, what: &str, limit: u64) -> Parsed<&'a str> {
        let len = self.u64(what)?;
        if len > limit {
            return bad(format!("{what}: at most {limit} bytes wanted, found {len}"));
        }
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).or_else(|_| bad(format!("{what} is not UTF-8")))
    }

    /// A key or a tensor's name: not empty, no NUL.
    fn name(&mut self, what: &str, limit: u64) -> Parsed<String> {
        let name = self.string(what, limit)?;
        if name.is_empty() {
            return bad(format!("{what} is empty"));
        }
        if name.contains('\0') {
            return bad(format!("{what} {name:?} holds a NUL"));
        }
        Ok(name.to_owned())
    }

    /// Every key with its value, and the alignment of the data.
    fn metadata(&mut self, n_keys: u64) -> Parsed<(Metadata, u64)> {
        let mut metadata = Metadata::default();
        let mut alignment = DEFAULT_ALIGNMENT;
        for index in 0..n_keys {
            let key = self.name(&format!("metadata key {index}"), MAX_KEY_BYTES)?;
            let kind = self.u32(&key)?;
            let value = self.value(&key, kind)?;
            if key == "general.alignment" {
                alignment = check_alignment(kind, &value)?;
            }
            if metadata.0.insert(key.clone(), value).is_some() {
                return bad(format!("metadata key {key:?} stands twice"));
            }
        }
        Ok((metadata, u64::from(alignment)))
    }

    fn value(&mut self, key: &str, kind: u32) -> Parsed<Value> {
        match kind {
            kind::STRING => Ok(Value::String(self.string(key, MAX_STRING_BYTES)?.to_owned())),
            kind::ARRAY => self.array_value(key),
            _ => Ok(match self.scalar(key, kind)? {
                Scalar::Unsigned(value) => Value::U64(value),
                Scalar::Signed(value) => Value::I64(value),
                Scalar::Float(value) => Value::F64(value),
                Scalar::Bool(value) => Value::Bool(value),
            }),
        }
    }

    fn scalar(&mut self, key: &str, kind: u32) -> Parsed<Scalar> {
        Ok(match kind {
            kind::U8 => Scalar::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            kind::I8 => Scalar::Signed(i8::from_le_bytes(self.array(key)?).into()),
            kind::U16 => Scalar::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            kind::I16 => Scalar::Signed(i16::from_le_bytes(self.array(key)?).into()),
            kind::U32 => Scalar::Unsigned(self.u32(key)?.into()),
            kind::I32 => Scalar::Signed(i32::from_le_bytes(self.array(key)?).into()),
            kind::F32 => Scalar::Float(f32::from_le_bytes(self.array(key)?).into()),
            kind::U64 => Scalar::Unsigned(self.u64(key)?),
            kind::I64 => Scalar::Signed(i64::from_le_bytes(self.array(key)?)),
            kind::F64 => Scalar::Float(f64::from_le_bytes(self.array(key)?)),
            kind::BOOL => match u8::from_le_bytes(self.array(key)?) {
                0 => Scalar::Bool(false),
                1 => Scalar::Bool(true),
                other => return bad(format!("{key}: a truth value of 0 or 1 wanted, found {other}")),
            },
            _ => return bad(format!("{key}: a value type of 0 to 12 wanted, found {kind}")),
        })
    }

    fn array_value(&mut self, key: &str) -> Parsed<Value> {
        let kind = self.u32(key)?;
        let min_bytes = match kind {
            kind::U8 | kind::I8 | kind::BOOL => 1,
            kind::U16 | kind::I16 => 2,
            kind::U32 | kind::I32 | kind::F32 => 4,
            kind::U64 | kind::I64 | kind::F64 | kind::STRING => 8,
            kind::ARRAY => return bad(format!("{key}: an array of arrays")),
            _ => return bad(format!("{key}: an element type of 0 to 12 wanted, found {kind}")),
        };
        let len = self.count(&format!("elements of {key}"), MAX_ARRAY_LEN - self.array_elements, min_bytes)?;
        self.array_elements += len;
        // Asked for at once, so that a short window is noticed before half the elements are converted.
        let rest = self.position;
        self.take(len * min_bytes, key)?;
        self.position = rest;
        let len = len as usize;
        Ok(match kind {
            kind::STRING => Value::Strings(collect(len, || self.string(key, MAX_STRING_BYTES).map(str::to_owned))?),
            kind::F32 | kind::F64 => Value::Floats(collect(len, || self.float_element(key, kind))?),
            kind::BOOL => Value::Bools(collect(len, || Ok(matches!(self.scalar(key, kind)?, Scalar::Bool(true))))?),
            _ => Value::Ints(collect(len, || self.int_element(key, kind))?),
        })
    }

    fn float_element(&mut self, key: &str, kind: u32) -> Parsed<f32> {
        match self.scalar(key, kind)? {
            Scalar::Float(value) => Ok(value as f32),
            _ => bad(format!("{key}: floats wanted")),
        }
    }

    fn int_element(&mut self, key: &str, kind: u32) -> Parsed<i64> {
        match self.scalar(key, kind)? {
            Scalar::Signed(value) => Ok(value),
            Scalar::Unsigned(value) => {
                i64::try_from(value).or_else(|_| bad(format!("{key}: integers below 2^63 wanted, found {value}")))
            }
            _ => bad(format!("{key}: integers wanted")),
        }
    }

    /// One tensor's description; its offset still counts from the start of the data.
    fn tensor(&mut self, index: u64) -> Parsed<TensorInfo> {
        let name = self.name(&format!("the name of tensor {index}"), MAX_NAME_BYTES)?;
        let n_dims = self.u32(&name)?;
        if !(1..=MAX_DIMS).contains(&n_dims) {
            return bad(format!("tensor {name}: 1 to {MAX_DIMS} dimensions wanted, found {n_dims}"));
        }
        // The file names the innermost dimension first.
        let mut shape = vec![0; n_dims as usize];
        for dim in shape.iter_mut().rev() {
            *dim = self.u64(&name)?;
        }
        let id = self.u32(&name)?;
        let offset = self.u64(&name)?;
        let Some(dtype) = DType::from_gguf_id(id) else {
            return Err(unknown_type(&name, id));
        };
        let n_bytes = tensor_bytes(&name, dtype, &shape)?;
        Ok(TensorInfo { name, dtype, shape, file: self.file, offset, n_bytes, view: View::AsFiled })
    }
}

fn collect<T>(len: usize, mut element: impl FnMut() -> Parsed<T>) -> Parsed<Vec<T>> {
    let mut out = Vec::with_capacity(len);
    for _ in 0..len {
        out.push(element()?);
    }
    Ok(out)
}

fn check_alignment(kind: u32, value: &Value) -> Parsed<u32> {
    match value {
        Value::U64(value) if kind == kind::U32 => match u32::try_from(*value) {
            Ok(value) if value.is_power_of_two() && ALIGNMENTS.contains(&value) => Ok(value),
            _ => bad(format!("general.alignment: a power of two in {ALIGNMENTS:?} wanted, found {value}")),
        },
        _ => bad("general.alignment: a 32-bit unsigned integer wanted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_at_its_limit() {
        let end_at = |len| {
            let position = MAX_HEADER_BYTES as usize - 4;
            Parser { position, ..Parser::new(&[], u64::MAX, 0) }.take(len, "a text").err()
        };
        assert!(matches!(end_at(4), Some(Stop::NeedMore(MAX_HEADER_BYTES))));
        assert!(matches!(end_at(5), Some(Stop::Bad(reason)) if reason.contains("the header is longer")));
    }
}
