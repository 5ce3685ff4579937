//! HTTP in a browser: `fetch` of the window or worker the engine runs in.

use super::FetchRequest;
use crate::error::{Error, Result};
use js_sys::{Function, Promise, Reflect, Uint8Array};
use std::io;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

/// An answer, its body still to be read.
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// `Content-Range`, where the server lets pages see it.
    pub(crate) content_range: Option<String>,
    /// `Content-Length`, likewise.
    pub(crate) length: Option<u64>,
    url: String,
    response: Response,
}

impl Reply {
    /// The whole body, at most `limit` bytes.
    pub(crate) async fn bytes(self, limit: usize) -> Result<Vec<u8>> {
        let what = format!("{}: reading", self.url);
        if let Some(needed) = self.length.filter(|length| *length > limit as u64) {
            return Err(Error::Limit { what: format!("{}: bytes", self.url), needed, available: limit as u64 });
        }
        let promise = self.response.array_buffer().map_err(|error| failed(&what, &error))?;
        let buffer = JsFuture::from(promise).await.map_err(|error| failed(&what, &error))?;
        Ok(Uint8Array::new(&buffer).to_vec())
    }
}

/// Sends a GET request; the browser follows redirects.
pub(crate) async fn get(request: &FetchRequest<'_>) -> Result<Reply> {
    send("GET", request).await
}

/// The length of a file by a HEAD request.
pub(crate) async fn content_length(request: &FetchRequest<'_>) -> Result<u64> {
    let reply = send("HEAD", request).await?;
    let unknown = || Error::unsupported(format!("{}: the server does not say how long the file is", request.url));
    reply.length.ok_or_else(unknown)
}

async fn send(method: &str, request: &FetchRequest<'_>) -> Result<Reply> {
    let response = fetch(method, request).await.map_err(|error| failed(request.url, &error))?;
    let headers = response.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    Ok(Reply {
        status: response.status(),
        content_type: header("content-type"),
        content_range: header("content-range"),
        length: header("content-length").and_then(|length| length.parse().ok()),
        url: request.url.to_owned(),
        response,
    })
}

/// `fetch` looked up on the global object, which is a window on a page and another type in a worker.
async fn fetch(method: &str, request: &FetchRequest<'_>) -> std::result::Result<Response, JsValue> {
    let headers = Headers::new()?;
    if let Some(token) = request.token {
        headers.set("Authorization", &format!("Bearer {token}"))?;
    }
    if let Some(range) = request.range_header() {
        headers.set("Range", &range)?;
    }
    let init = RequestInit::new();
    init.set_method(method);
    init.set_headers(&headers);
    let global = js_sys::global();
    let function: Function = Reflect::get(&global, &"fetch".into())?.dyn_into()?;
    let promise: Promise = function.call2(&global, &request.url.into(), &init)?.dyn_into()?;
    JsFuture::from(promise).await?.dyn_into()
}

/// A rejected promise in its own words.
pub(super) fn failed(what: &str, error: &JsValue) -> Error {
    Error::io(what, io::Error::other(words(error)))
}

/// What an error of JavaScript says.
pub(crate) fn words(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    message.unwrap_or_else(|| format!("{error:?}"))
}
