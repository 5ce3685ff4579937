//! The folder where downloads are kept: one folder per model, files under the names they have there.

use super::HubOptions;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The cache's folder.
pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The folder that the options name, else `TRICE_CACHE`, else the user's cache folder.
    pub(super) fn new(options: &HubOptions) -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let users =
            || variable("XDG_CACHE_HOME").or_else(|| variable("LOCALAPPDATA")).map(|folder| folder.join("trice"));
        let home = || Some(variable("HOME")?.join(".cache").join("trice"));
        let root = options.cache_dir.clone().or_else(|| variable("TRICE_CACHE")).or_else(users).or_else(home);
        let wanted = || Error::invalid("no folder for downloads: set TRICE_CACHE, XDG_CACHE_HOME or HOME");
        Ok(Self { root: root.ok_or_else(wanted)? })
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A model's folder: `hf/owner/repo/revision` for the hub's (any quant), `url/…` for addresses.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        let Some(hub) = name.strip_prefix("hf:") else {
            let place = name.rsplit_once('/').map_or(name, |(place, _)| place);
            return self.root.join("url").join(file_name_of(place));
        };
        let place = hub.split_once(':').map_or(hub, |(place, _)| place);
        let (repo, revision) = place.split_once('@').unwrap_or((place, "main"));
        // The name was checked when it was read: letters, digits, `-`, `_`, `.` and slashes, no `..`.
        self.root.join("hf").join(repo).join(revision.replace('/', "--"))
    }
}

/// An address as one folder's name; two addresses never share one.
fn file_name_of(address: &str) -> String {
    let readable = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let tail: String = address.chars().map(readable).rev().take(40).collect();
    let tail: String = tail.chars().rev().collect();
    format!("{}-{tail}", &super::download::sha256_of(address.as_bytes())[..16])
}

/// `path` inside `folder`; a server cannot name files outside.
pub(super) fn join(folder: &Path, path: &str) -> Result<PathBuf> {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0']);
    if !path.split('/').all(is_plain) {
        return Err(Error::format(path, "the server names a file outside of the model's folder"));
    }
    Ok(folder.join(path))
}

/// Writes a small file whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let written = create_parent(path).and_then(|()| std::fs::write(&temporary, bytes));
    written
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| Error::io(path.display().to_string(), error))
}

/// Makes the folder that is to hold `path`.
pub(super) fn create_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}
