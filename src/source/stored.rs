//! A file that the page's store keeps, or is still fetching.

use super::{LocalFuture, Source, check_range, fetch};
use crate::error::Result;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// `Download` and `KeptFile` of `web/`: read by ranges, which come once their bytes are here and checked.
    pub type StoredFile;
    #[wasm_bindgen(method, getter, structural)]
    fn size(this: &StoredFile) -> f64;
    #[wasm_bindgen(method, catch, structural)]
    fn read(this: &StoredFile, offset: f64, len: f64) -> std::result::Result<Promise, JsValue>;
}

/// A file of the store.
pub struct StoredSource {
    name: String,
    file: StoredFile,
}

impl StoredSource {
    /// Serves `file` under `name`.
    pub fn new(name: impl Into<String>, file: StoredFile) -> Self {
        Self { name: name.into(), file }
    }
}

impl Source for StoredSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.file.size() as u64
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            check_range(self, offset, len)?;
            let failed = |error| fetch::failed(&self.name, &error);
            let promise = self.file.read(offset as f64, len as f64).map_err(failed)?;
            let bytes = JsFuture::from(promise).await.map_err(failed)?;
            Ok(Uint8Array::new(&bytes).to_vec())
        })
    }
}
