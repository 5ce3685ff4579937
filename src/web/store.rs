//! What `web/store.js` asks of the library: which files to fetch, whether an answer holds one, and what bytes hash to. Holds no
//! files itself, and needs no device.

use super::convert::{from_js, to_js, to_js_error};
use super::requests::LoadRequest;
use crate::error::Result;
use crate::hub::{self, HubOptions, ModelName, RemoteFile};
use crate::source::http;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::hash::Hasher;
use twox_hash::XxHash64;
use wasm_bindgen::prelude::*;

/// A file to fetch, and the token to send for it.
#[derive(Serialize)]
struct FileToFetch<'a> {
    #[serde(flatten)]
    file: &'a RemoteFile,
    token: Option<&'a str>,
}

/// The files of a model of the network, small ones first: `[{path, url, size, sha256, version, token}]`, what is unknown being
/// null. `options` are those of `Engine.load`.
#[wasm_bindgen(js_name = remoteFiles)]
pub async fn remote_files(name: String, options: JsValue) -> Result<JsValue, JsValue> {
    let found = async {
        let (name, options) = hub_request(&name, options)?;
        let files = hub::remote_files(&name, &options).await?;
        let to_fetch = |file| FileToFetch { file, token: options.token_for(&file.url) };
        to_js(&files.iter().map(to_fetch).collect::<Vec<_>>())
    };
    found.await.map_err(to_js_error)
}

/// The models of the repository that `hf:owner/repo` names, smallest first: `[{pick, n_bytes}]`.
#[wasm_bindgen(js_name = repoChoices)]
pub async fn repo_choices(name: String, options: JsValue) -> Result<JsValue, JsValue> {
    let found = async {
        let (name, options) = hub_request(&name, options)?;
        to_js(&hub::choices(&name, &options).await?)
    };
    found.await.map_err(to_js_error)
}

fn hub_request(name: &str, options: JsValue) -> Result<(ModelName, HubOptions)> {
    Ok((ModelName::parse(name)?, from_js::<LoadRequest>("options", options)?.hub_options()))
}

/// Throws where an answer is no file: a refusal, an HTML page.
#[wasm_bindgen(js_name = checkReply)]
pub fn check_reply(url: &str, status: u16, content_type: Option<String>) -> Result<(), JsValue> {
    http::check_status(url, status).and_then(|()| http::refuse_html(url, content_type.as_deref())).map_err(to_js_error)
}

/// SHA-256 of bytes as they come.
#[wasm_bindgen]
#[derive(Clone, Default)]
pub struct FileDigest(Sha256);

#[wasm_bindgen]
impl FileDigest {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The same as it stands now, to come back to.
    pub fn copy(&self) -> Self {
        self.clone()
    }

    /// In hexadecimal; the object is used up.
    pub fn finish(self) -> String {
        hub::hex(&self.0.finalize())
    }
}

/// A fast sum that shows damage to a piece of a file (XXH64).
#[wasm_bindgen]
pub struct PieceSum(XxHash64);

#[wasm_bindgen]
impl PieceSum {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::new_without_default, reason = "made from JavaScript only")]
    pub fn new() -> Self {
        Self(XxHash64::with_seed(0))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// In hexadecimal; the object is used up.
    pub fn finish(self) -> String {
        format!("{:016x}", self.0.finish())
    }
}
