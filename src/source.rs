//! Where bytes come from: a file, memory, an HTTP server, a browser's Blob. One trait, ranged and async, so that the
//! readers above never know. Holds no knowledge of formats and no cache.

use crate::error::{Error, Result};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;

#[cfg(target_arch = "wasm32")]
mod blob;
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
#[path = "source/fetch_native.rs"]
pub(crate) mod fetch;
#[cfg(target_arch = "wasm32")]
#[path = "source/fetch_web.rs"]
pub(crate) mod fetch;
#[cfg(all(not(target_arch = "wasm32"), not(feature = "hub")))]
#[path = "source/fetch_none.rs"]
pub(crate) mod fetch;
pub(crate) mod http;
#[cfg(target_arch = "wasm32")]
mod stored;

#[cfg(target_arch = "wasm32")]
pub use blob::BlobSource;
pub use http::HttpSource;
#[cfg(target_arch = "wasm32")]
pub use stored::{StoredFile, StoredSource};

/// A future on the engine's own thread: neither the GPU's browser handles nor JS promises may leave it.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A future that was begun, so that its request is on its way before anybody waits for it.
pub(crate) enum Started<'a, T> {
    /// Still at it.
    Running(LocalFuture<'a, T>),
    /// Done at once, as where reading blocks.
    Done(T),
}

impl<'a, T> Started<'a, T> {
    /// Runs `future` up to where it first waits.
    pub(crate) async fn new(future: impl Future<Output = T> + 'a) -> Self {
        let mut future: LocalFuture<'a, T> = Box::pin(future);
        let first = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        match first {
            Poll::Ready(value) => Self::Done(value),
            Poll::Pending => Self::Running(future),
        }
    }

    /// Runs it to its end.
    pub(crate) async fn wait(self) -> T {
        match self {
            Self::Running(future) => future.await,
            Self::Done(value) => value,
        }
    }
}

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

/// A request for a file or a part of it; what `fetch::get` takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchRequest<'a> {
    /// http or https.
    pub(crate) url: &'a str,
    /// Sent as a bearer token, to the first host only.
    pub(crate) token: Option<&'a str>,
    /// Bytes wanted; an end of `u64::MAX` means all the rest.
    pub(crate) range: Option<Range<u64>>,
}

impl FetchRequest<'_> {
    /// The `Range` header's value.
    pub(crate) fn range_header(&self) -> Option<String> {
        let range = self.range.as_ref()?;
        Some(match range.end {
            u64::MAX => format!("bytes={}-", range.start),
            end => format!("bytes={}-{}", range.start, end - 1),
        })
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

/// A file on disk, read where asked.
#[cfg(not(target_arch = "wasm32"))]
pub struct FileSource {
    name: String,
    len: u64,
    file: std::cell::RefCell<std::fs::File>,
}

#[cfg(not(target_arch = "wasm32"))]
impl FileSource {
    /// Opens the file at `path`.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let failed = |error| Error::io(&name, error);
        let file = std::fs::File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Error::invalid(format!("{name}: a file wanted, found something else")));
        }
        Ok(Self { len: metadata.len(), file: file.into(), name })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        use std::io::{Read, Seek, SeekFrom};
        Box::pin(async move {
            check_range(self, offset, len)?;
            let mut bytes = vec![0; len];
            let mut file = self.file.borrow_mut();
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|error| Error::io(format!("{}: reading {len} bytes at {offset}", self.name), error))?;
            Ok(bytes)
        })
    }
}
