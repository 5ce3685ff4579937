//! HTTP in a build without the feature `hub`: every request says so.

use super::FetchRequest;
use crate::error::{Error, Result};

/// An answer that never comes.
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// `Content-Range`.
    pub(crate) content_range: Option<String>,
    /// `Content-Length`.
    pub(crate) length: Option<u64>,
}

impl Reply {
    /// The whole body, at most `limit` bytes.
    pub(crate) async fn bytes(self, limit: usize) -> Result<Vec<u8>> {
        let _ = limit;
        Ok(Vec::new())
    }
}

/// Refuses.
pub(crate) async fn get(request: &FetchRequest<'_>) -> Result<Reply> {
    let (url, range) = (request.url, request.range_header().unwrap_or_default());
    let _ = request.token;
    Err(Error::unsupported(format!("{url} {range}: this build of trice has no network (feature hub)")))
}

/// Refuses.
pub(crate) async fn content_length(request: &FetchRequest<'_>) -> Result<u64> {
    get(request).await.map(|reply| reply.length.unwrap_or(0))
}
