//! HTTP natively, through `ureq`. Blocking inside its futures: natively nothing else runs on the engine's thread.

use super::FetchRequest;
use crate::error::{Error, Result};
use std::io::{self, Read};
use std::sync::LazyLock;
use std::time::Duration;
use ureq::Agent;
use ureq::http::HeaderMap;

/// Connections are kept for all requests. A server that sends nothing for this long is given up.
static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    let timeout = Some(Duration::from_secs(30));
    let user_agent = concat!("trice/", env!("CARGO_PKG_VERSION"));
    let config = Agent::config_builder().http_status_as_error(false).user_agent(user_agent);
    config.timeout_connect(timeout).timeout_recv_response(timeout).timeout_per_read(timeout).build().new_agent()
});

/// An answer, its body still to be read.
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// `Content-Range`.
    pub(crate) content_range: Option<String>,
    /// `ETag`: names the version of the file.
    pub(crate) etag: Option<String>,
    /// `Content-Length`.
    pub(crate) length: Option<u64>,
    url: String,
    body: ureq::Body,
}

impl Reply {
    /// The whole body, at most `limit` bytes.
    pub(crate) async fn bytes(self, limit: usize) -> Result<Vec<u8>> {
        let (url, mut bytes) = (self.url.clone(), Vec::new());
        self.into_reader().take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| Error::io(&url, error))?;
        if bytes.len() > limit {
            return Err(Error::Limit {
                what: format!("{url}: bytes"),
                needed: bytes.len() as u64,
                available: limit as u64,
            });
        }
        Ok(bytes)
    }

    /// The body as it comes.
    pub(crate) fn into_reader(self) -> impl Read {
        self.body.into_reader()
    }
}

/// Sends a GET request, following redirects.
pub(crate) async fn get(request: &FetchRequest<'_>) -> Result<Reply> {
    let mut builder = AGENT.get(request.url);
    if let Some(token) = request.token {
        builder = builder.header("Authorization", format!("Bearer {token}"));
    }
    if let Some(range) = request.range_header() {
        builder = builder.header("Range", range);
    }
    let (parts, body) = builder.call().map_err(|error| failed(request.url, error))?.into_parts();
    Ok(Reply {
        status: parts.status.as_u16(),
        content_type: header(&parts.headers, "content-type"),
        content_range: header(&parts.headers, "content-range"),
        etag: header(&parts.headers, "etag"),
        length: header(&parts.headers, "content-length").and_then(|length| length.parse().ok()),
        url: request.url.to_owned(),
        body,
    })
}

/// The length of a file by a HEAD request.
pub(crate) async fn content_length(request: &FetchRequest<'_>) -> Result<u64> {
    let mut builder = AGENT.head(request.url);
    if let Some(token) = request.token {
        builder = builder.header("Authorization", format!("Bearer {token}"));
    }
    let reply = builder.call().map_err(|error| failed(request.url, error))?;
    let length = header(reply.headers(), "content-length").and_then(|length| length.parse().ok());
    length.ok_or_else(|| Error::unsupported(format!("{}: the server does not say how long the file is", request.url)))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn failed(url: &str, error: ureq::Error) -> Error {
    match error {
        ureq::Error::Io(error) => Error::io(url, error),
        ureq::Error::BadUri(reason) => Error::invalid(format!("{url}: no address: {reason}")),
        other => Error::io(url, io::Error::other(other)),
    }
}
