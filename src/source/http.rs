//! A file on an HTTP server, read by ranges. Holds no retries and no cache: those are the hub's.

use super::{FetchRequest, LocalFuture, Source, check_range, fetch};
use crate::error::{Error, Result};
use std::cell::OnceCell;
use std::io;

/// A server that does not know ranges is asked once for the whole file, up to this many bytes.
const MAX_WHOLE_BYTES: u64 = 256 << 20;

/// A file on an HTTP server.
pub struct HttpSource {
    url: String,
    token: Option<String>,
    len: u64,
    /// The whole file, once the server has shown that it does not know ranges.
    whole: OnceCell<Vec<u8>>,
}

impl HttpSource {
    /// Asks the server how long the file is; `token` goes with every request.
    pub async fn open(url: &str, token: Option<&str>) -> Result<Self> {
        let reply = fetch::get(&FetchRequest { url, token, range: Some(0..1) }).await?;
        check_status(url, reply.status)?;
        refuse_html(url, reply.content_type.as_deref())?;
        let mut source = Self::with_len(url, token, 0);
        if reply.status == 206 {
            let total = reply.content_range.as_deref().and_then(total_in);
            source.len = match total {
                Some(total) => total,
                None => fetch::content_length(&FetchRequest { url, token, range: None }).await?,
            };
            return Ok(source);
        }
        // 200: the range was ignored and the whole file follows.
        let len = reply.length.unwrap_or(0);
        if len > MAX_WHOLE_BYTES {
            return Err(Error::unsupported(format!("{url}: the server does not send parts of files (Range)")));
        }
        let whole = reply.bytes(MAX_WHOLE_BYTES as usize).await?;
        source.len = whole.len() as u64;
        source.whole = whole.into();
        Ok(source)
    }

    /// A file whose length is known, from a hub's listing.
    pub fn with_len(url: &str, token: Option<&str>, len: u64) -> Self {
        Self { url: url.to_owned(), token: token.map(str::to_owned), len, whole: OnceCell::new() }
    }

    async fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let range = Some(offset..offset + len as u64);
        let reply = fetch::get(&FetchRequest { url: &self.url, token: self.token.as_deref(), range }).await?;
        check_status(&self.url, reply.status)?;
        let total = reply.content_range.as_deref().and_then(total_in);
        if total.is_some_and(|total| total != self.len) {
            let reason = format!("{} bytes wanted, the server now has {}", self.len, total.unwrap_or(0));
            return Err(Error::format(&self.url, reason));
        }
        if reply.status == 206 {
            let bytes = reply.bytes(len).await?;
            self.check_len(&bytes, offset, len)?;
            return Ok(bytes);
        }
        // 200: the range was ignored and the whole file follows. It is kept, so that it comes only once.
        if self.len > MAX_WHOLE_BYTES {
            return Err(Error::unsupported(format!("{}: the server does not send parts of files (Range)", self.url)));
        }
        let whole = reply.bytes(self.len as usize).await?;
        self.check_len(&whole, 0, self.len as usize)?;
        Ok(part(self.whole.get_or_init(|| whole), offset, len))
    }

    fn check_len(&self, bytes: &[u8], offset: u64, len: usize) -> Result<()> {
        if bytes.len() == len {
            return Ok(());
        }
        let reason = format!("{len} bytes wanted at {offset}, {} came", bytes.len());
        Err(Error::io(&self.url, io::Error::new(io::ErrorKind::UnexpectedEof, reason)))
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.url
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            check_range(self, offset, len)?;
            match self.whole.get() {
                Some(whole) => Ok(part(whole, offset, len)),
                None => self.fetch(offset, len).await,
            }
        })
    }
}

/// A range that lies within `whole`.
fn part(whole: &[u8], offset: u64, len: usize) -> Vec<u8> {
    whole[offset as usize..offset as usize + len].to_vec()
}

/// The total in `bytes 0-0/123`.
pub(crate) fn total_in(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.trim().parse().ok()
}

/// Says in words what a status other than success means.
pub(crate) fn check_status(url: &str, status: u16) -> Result<()> {
    let (kind, words) = match status {
        200 | 206 => return Ok(()),
        401 | 403 => (io::ErrorKind::PermissionDenied, "access denied: it may need a token, or its licence accepted"),
        404 => (io::ErrorKind::NotFound, "not found"),
        429 => (io::ErrorKind::ResourceBusy, "too many requests, try again later"),
        500.. => (io::ErrorKind::ConnectionAborted, "the server failed"),
        _ => (io::ErrorKind::InvalidData, "an answer that is no file"),
    };
    Err(Error::io(url, io::Error::new(kind, format!("{words} (HTTP {status})"))))
}

/// A login or error page served with status 200 is not the file.
pub(crate) fn refuse_html(url: &str, content_type: Option<&str>) -> Result<()> {
    if content_type.is_some_and(|kind| kind.trim_start().starts_with("text/html")) {
        return Err(Error::format(url, "a file wanted, the server sent an HTML page"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        assert_eq!(total_in("bytes 0-0/123"), Some(123));
        assert_eq!(total_in("bytes 0-0/*"), None);
        assert_eq!(total_in("nonsense"), None);
    }
}
