//! One file from a server into the cache: resumed where it broke off, started over when it changed, checked against its
//! hash, and only then given its name.

use super::cache::{self, create_parent};
use super::{DownloadProgress, RemoteFile, hex};
use crate::error::{Error, Result};
use crate::source::{FetchRequest, fetch, http};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tries per file; a try that brought bytes does not count.
const MAX_TRIES: u32 = 3;
/// Wait before the second try; doubles with each.
const BACKOFF: Duration = Duration::from_millis(200);
/// Bytes read from the network at a time.
const CHUNK: usize = 1 << 18;

/// Makes sure that `path` holds the file.
pub(super) async fn fetch(
    file: &RemoteFile,
    path: &Path,
    token: Option<&str>,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<()> {
    if is_current(file, path) {
        return Ok(());
    }
    let download = Download { file, token, part: with_suffix(path, ".part"), etag_path: with_suffix(path, ".etag") };
    let mut tries = 0;
    loop {
        let before = download.part_len();
        match download.attempt(progress).await {
            Ok(()) => break,
            Err(error) if !can_retry(&error) => return Err(error),
            Err(error) => {
                tries = if download.part_len() > before { 1 } else { tries + 1 };
                if tries >= MAX_TRIES {
                    return Err(error);
                }
                std::thread::sleep(BACKOFF * 2_u32.pow(tries - 1));
            }
        }
    }
    download.check_hash()?;
    let failed = |error| Error::io(path.display().to_string(), error);
    std::fs::rename(&download.part, path).map_err(failed)?;
    // It may never have been written, when the server names no versions.
    let _ = std::fs::remove_file(&download.etag_path);
    match &file.version {
        Some(version) => cache::write(&with_suffix(path, ".version"), version.as_bytes()),
        None => Ok(()),
    }
}

/// Whether the cache holds this version of the file, as far as the server's listing tells.
fn is_current(file: &RemoteFile, path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    let same_version = file.version.as_ref().is_none_or(|version| {
        std::fs::read_to_string(with_suffix(path, ".version")).is_ok_and(|kept| kept == *version)
    });
    file.size.is_none_or(|size| size == metadata.len()) && same_version
}

struct Download<'a> {
    file: &'a RemoteFile,
    token: Option<&'a str>,
    /// What has come so far.
    part: PathBuf,
    /// Names the version that `part` is of.
    etag_path: PathBuf,
}

impl Download<'_> {
    fn part_len(&self) -> u64 {
        self.part.metadata().map_or(0, |metadata| metadata.len())
    }

    /// One request: the rest of the file, or all of it.
    async fn attempt(&self, progress: &mut dyn FnMut(DownloadProgress)) -> Result<()> {
        let mut start = self.part_len();
        if self.file.size.is_some_and(|size| start > size) {
            self.forget()?;
            start = 0;
        }
        if start > 0 && self.file.size == Some(start) {
            return Ok(());
        }
        let url = self.file.url.as_str();
        let range = (start > 0).then_some(start..u64::MAX);
        let reply = fetch::get(&FetchRequest { url, token: self.token, range }).await?;
        if reply.status == 416 {
            self.forget()?;
            return Err(interrupted(url, "the part kept here does not fit the file any more"));
        }
        http::check_status(url, reply.status)?;
        http::refuse_html(url, reply.content_type.as_deref())?;
        let kept_etag = std::fs::read_to_string(&self.etag_path).ok();
        if reply.status == 206 && kept_etag != reply.etag {
            self.forget()?;
            return Err(interrupted(url, "the file changed on the server, it is fetched anew"));
        }
        let start = if reply.status == 206 { start } else { 0 };
        let total = match reply.content_range.as_deref().and_then(http::total_in) {
            Some(total) => Some(total),
            None => reply.length.map(|length| start + length).or(self.file.size),
        };
        if let (Some(total), Some(size)) = (total, self.file.size)
            && total != size
        {
            return Err(Error::format(url, format!("{size} bytes wanted, the server sends {total}")));
        }
        if start == 0
            && let Some(etag) = &reply.etag
        {
            cache::write(&self.etag_path, etag.as_bytes())?;
        }
        self.receive(reply.into_reader(), start, total, progress)
    }

    /// Appends what comes to the part, from `start` on.
    fn receive(
        &self,
        mut body: impl Read,
        start: u64,
        total: Option<u64>,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<()> {
        let disk = |error| Error::io(self.part.display().to_string(), error);
        create_parent(&self.part).map_err(disk)?;
        let mut part = OpenOptions::new().create(true).append(true).open(&self.part).map_err(disk)?;
        part.set_len(start).map_err(disk)?;
        let (mut done, mut chunk) = (start, vec![0; CHUNK]);
        loop {
            progress(DownloadProgress { file: self.file.path.clone(), done, total });
            let n = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(interrupted(&self.file.url, &error.to_string())),
            };
            part.write_all(&chunk[..n]).map_err(disk)?;
            done += n as u64;
        }
        match total {
            Some(total) if done < total => {
                Err(interrupted(&self.file.url, &format!("{total} bytes wanted, {done} came")))
            }
            Some(total) if done > total => {
                self.forget()?;
                Err(Error::format(&self.file.url, format!("{total} bytes wanted, {done} came")))
            }
            _ => part.sync_all().map_err(disk),
        }
    }

    fn check_hash(&self) -> Result<()> {
        let Some(wanted) = &self.file.sha256 else { return Ok(()) };
        let disk = |error| Error::io(self.part.display().to_string(), error);
        let (mut file, mut hash, mut chunk) = (File::open(&self.part).map_err(disk)?, Sha256::new(), vec![0; CHUNK]);
        loop {
            match file.read(&mut chunk).map_err(disk)? {
                0 => break,
                n => hash.update(&chunk[..n]),
            }
        }
        let found = hex(&hash.finalize());
        if found.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        self.forget()?;
        let path = &self.file.path;
        Err(Error::format(path, format!("its bytes hash to {found}, {wanted} wanted; the download is dropped")))
    }

    /// Drops what has come so far.
    fn forget(&self) -> Result<()> {
        for path in [&self.part, &self.etag_path] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(path.display().to_string(), error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A failure that another try may mend.
fn interrupted(url: &str, words: &str) -> Error {
    Error::io(url, io::Error::new(io::ErrorKind::ConnectionAborted, words.to_owned()))
}

/// Refusals and full disks are final; lost connections and failing servers are not.
fn can_retry(error: &Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, ResourceBusy, TimedOut, UnexpectedEof};
    let kinds = [ConnectionAborted, ConnectionRefused, ConnectionReset, ResourceBusy, TimedOut, UnexpectedEof];
    matches!(error, Error::Io { source, .. } if kinds.contains(&source.kind()) || source.kind() == io::ErrorKind::Other)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
