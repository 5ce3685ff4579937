//! Where bytes come from: a file, memory, an HTTP server, a browser's Blob. One trait, ranged and async, so that the
//! readers above never know. Holds no knowledge of formats and no cache.

use crate::error::{Error, Result};
use std::future::Future;
use std::pin::Pin;

/// A future on the engine's own thread: neither the GPU's browser handles nor JS promises may leave it.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Random access to a file of known length, wherever it lives.
pub trait Source {
    /// What to call it in messages: a path, an address, a file's name.
    fn name(&self) -> &str;

    /// Its whole length in bytes.
    fn len(&self) -> u64;

    /// True when it holds no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly `len` bytes from `offset`; `Error::Io` when they are not all there.
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>>;
}

/// Checks that `offset..offset + len` lies within `source`, before anything is allocated.
pub(crate) fn check_range(source: &dyn Source, offset: u64, len: usize) -> Result<()> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= source.len() => Ok(()),
        _ => Err(Error::format(
            source.name(),
            format!("{len} bytes wanted at {offset}, the file ends at {}", source.len()),
        )),
    }
}

/// Bytes already in memory: a built-in or random model, a test.
pub struct MemorySource {
    name: String,
    bytes: std::borrow::Cow<'static, [u8]>,
}

impl MemorySource {
    /// Serves `bytes` under `name`.
    pub fn new(name: impl Into<String>, bytes: impl Into<std::borrow::Cow<'static, [u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            check_range(self, offset, len)?;
            let start = offset as usize;
            Ok(self.bytes[start..start + len].to_vec())
        })
    }
}
