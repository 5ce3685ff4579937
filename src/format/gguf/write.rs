//! GGUF v3 writer: the header first, then tensor by tensor, to anything that takes bytes. Holds no model whole.

use super::parse::kind;
use super::{DEFAULT_ALIGNMENT, MAGIC};
use crate::error::{Error, Result};
use crate::format::{Metadata, TensorInfo, Value};
use std::collections::VecDeque;
use std::io::Write;

const VERSION: u32 = 3;

/// A file being written: its tensors are handed over in the order of the header.
pub struct Writer<W: Write> {
    out: W,
    name: String,
    /// Tensors whose bytes are still to come.
    missing: VecDeque<Missing>,
}

struct Missing {
    name: String,
    n_bytes: u64,
    /// Of these, how many are to come.
    left: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header: every key but those of files in parts, and `tensors`, whose bytes come in this order. `name` is what to
    /// call the file.
    ///
    /// # Errors
    /// `Io` where `out` takes no more.
    pub fn new(out: W, name: &str, metadata: &Metadata, tensors: &[&TensorInfo]) -> Result<Self> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((tensors.len() as u64).to_le_bytes());
        let mut keys: Vec<_> = metadata.0.iter().filter(|(key, _)| !is_of_the_file(key)).collect();
        keys.sort_by_key(|(key, _)| *key);
        header.extend((keys.len() as u64).to_le_bytes());
        for (key, value) in keys {
            put_string(key, &mut header);
            put_value(value, &mut header);
        }
        let mut offset = 0u64;
        for tensor in tensors {
            put_string(&tensor.name, &mut header);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            // The file names the innermost dimension first.
            tensor.shape.iter().rev().for_each(|dim| header.extend(dim.to_le_bytes()));
            header.extend(tensor.dtype.gguf_id().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += tensor.n_bytes + padding(tensor.n_bytes);
        }
        header.resize(header.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        let missing =
            |tensor: &&TensorInfo| Missing { name: tensor.name.clone(), n_bytes: tensor.n_bytes, left: tensor.n_bytes };
        let mut writer = Self { out, name: name.to_owned(), missing: tensors.iter().map(missing).collect() };
        writer.put(&header)?;
        writer.end_whole_tensors()?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::io(&self.name, error))
    }

    /// Writes the next bytes of the tensor whose turn it is, and what pads it once it is whole.
    ///
    /// # Errors
    /// `Io` where the file takes no more; `Invalid` for more bytes than the tensor has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let left = self.missing.front().map_or(0, |tensor| tensor.left);
        let Some(rest) = left.checked_sub(bytes.len() as u64) else {
            let what = format!("{}: {left} bytes of a tensor wanted, found {}", self.name, bytes.len());
            return Err(Error::invalid(what));
        };
        self.put(bytes)?;
        if let Some(tensor) = self.missing.front_mut() {
            tensor.left = rest;
        }
        self.end_whole_tensors()
    }

    fn end_whole_tensors(&mut self) -> Result<()> {
        while let Some(tensor) = self.missing.pop_front_if(|tensor| tensor.left == 0) {
            self.put(&[0; DEFAULT_ALIGNMENT as usize][..padding(tensor.n_bytes) as usize])?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// `Io` where the file takes no more; `Invalid` where bytes of a tensor are missing.
    pub fn finish(mut self) -> Result<W> {
        if let Some(tensor) = self.missing.front() {
            let what = format!("{}: {} more bytes of tensor {} wanted", self.name, tensor.left, tensor.name);
            return Err(Error::invalid(what));
        }
        self.out.flush().map_err(|error| Error::io(&self.name, error))?;
        Ok(self.out)
    }
}

/// Bytes from the end of a tensor to the next one.
fn padding(n_bytes: u64) -> u64 {
    n_bytes.next_multiple_of(DEFAULT_ALIGNMENT.into()) - n_bytes
}

/// Whether a key is about the file it stood in, not about the model.
fn is_of_the_file(key: &str) -> bool {
    key == "general.alignment" || key.starts_with("split.")
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A kind and a value. Readers in the field want numbers of 32 bits where they do.
fn put_value(value: &Value, out: &mut Vec<u8>) {
    let mut put = |kind: u32, bytes: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U64(value) => match u32::try_from(*value) {
            Ok(value) => put(kind::U32, &value.to_le_bytes()),
            Err(_) => put(kind::U64, &value.to_le_bytes()),
        },
        Value::I64(value) => match i32::try_from(*value) {
            Ok(value) => put(kind::I32, &value.to_le_bytes()),
            Err(_) => put(kind::I64, &value.to_le_bytes()),
        },
        // What was a float of 32 bits still is one; a number such as 1e-12 is as near as its readers need it.
        Value::F64(value) => put(kind::F32, &(*value as f32).to_le_bytes()),
        Value::Bool(value) => put(kind::BOOL, &[u8::from(*value)]),
        Value::String(text) => {
            out.extend(kind::STRING.to_le_bytes());
            put_string(text, out);
        }
        Value::Ints(values) if values.iter().all(|value| i32::try_from(*value).is_ok()) => {
            put_array(kind::I32, values, |value, out| out.extend((*value as i32).to_le_bytes()), out);
        }
        Value::Ints(values) => put_array(kind::I64, values, |value, out| out.extend(value.to_le_bytes()), out),
        Value::Floats(values) => put_array(kind::F32, values, |value, out| out.extend(value.to_le_bytes()), out),
        Value::Bools(values) => put_array(kind::BOOL, values, |value, out| out.push(u8::from(*value)), out),
        Value::Strings(values) => put_array(kind::STRING, values, |text, out| put_string(text, out), out),
    }
}

fn put_array<T>(kind: u32, values: &[T], put: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.extend(kind::ARRAY.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    values.iter().for_each(|value| put(value, out));
}
