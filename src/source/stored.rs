//! A file that the page's store keeps, or is still fetching.

use super::{LocalFuture, Source, check_range, fetch};
use crate::error::{Error, Result};
use js_sys::{Promise, Uint8Array};
use std::cell::RefCell;
use std::io;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// `Download` and `KeptFile` of `web/`: read by ranges, which come once their bytes are here and checked. `read` gives how many
    /// bytes it put into what it was given.
    pub type StoredFile;
    #[wasm_bindgen(method, getter, structural)]
    fn size(this: &StoredFile) -> f64;
    #[wasm_bindgen(method, catch, structural)]
    fn read(this: &StoredFile, offset: f64, into: &Uint8Array) -> std::result::Result<Promise, JsValue>;
}

/// Bytes of memory that are kept for the next read. New memory of a browser costs more than reading into it.
const MAX_SPARE: u32 = 4 << 20;

/// A file of the store.
pub struct StoredSource {
    name: String,
    file: StoredFile,
    /// Memory of reads that are over.
    spares: RefCell<Vec<Uint8Array>>,
}

impl StoredSource {
    /// Serves `file` under `name`.
    pub fn new(name: impl Into<String>, file: StoredFile) -> Self {
        Self { name: name.into(), file, spares: RefCell::default() }
    }

    /// Memory of `len` bytes or more.
    fn spare(&self, len: u32) -> Uint8Array {
        let last = self.spares.borrow_mut().pop().filter(|spare| spare.length() >= len);
        last.unwrap_or_else(|| Uint8Array::new_with_length(len))
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
            // Memory of a browser's module has less than 2³² bytes.
            let spare = self.spare(len as u32);
            let into = spare.subarray(0, len as u32);
            let promise = self.file.read(offset as f64, &into).map_err(failed)?;
            let n_read = JsFuture::from(promise).await.map_err(failed)?.as_f64();
            if n_read != Some(len as f64) {
                let found = n_read.unwrap_or(0.0);
                let reason = format!("{len} bytes wanted at {offset}, {found} are kept");
                return Err(Error::io(&self.name, io::Error::new(io::ErrorKind::UnexpectedEof, reason)));
            }
            let bytes = into.to_vec();
            if spare.length() <= MAX_SPARE {
                self.spares.borrow_mut().push(spare);
            }
            Ok(bytes)
        })
    }
}
