//! A file that the user gave to the page.

use super::{LocalFuture, Source, check_range, fetch};
use crate::error::Result;
use js_sys::Uint8Array;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// A browser's `File` or `Blob`, read by slices.
pub struct BlobSource {
    name: String,
    blob: Blob,
}

impl BlobSource {
    /// Serves `blob` under `name`.
    pub fn new(name: impl Into<String>, blob: Blob) -> Self {
        Self { name: name.into(), blob }
    }
}

impl Source for BlobSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        // JavaScript counts in doubles: exact up to 2^53 bytes.
        self.blob.size() as u64
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            check_range(self, offset, len)?;
            let failed = |error| fetch::failed(&self.name, &error);
            let (start, end) = (offset as f64, (offset + len as u64) as f64);
            let slice = self.blob.slice_with_f64_and_f64(start, end).map_err(failed)?;
            let buffer = JsFuture::from(slice.array_buffer()).await.map_err(failed)?;
            Ok(Uint8Array::new(&buffer).to_vec())
        })
    }
}
