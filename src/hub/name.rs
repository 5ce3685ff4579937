//! What users call models.

use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;

/// A model's name, by where the model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// `builtin:stories`: comes with the program.
    Builtin(String),
    /// `random:15m:Q4_0`: seeded weights made in memory; the whole name.
    Random(String),
    /// A GGUF or safetensors file, or a folder.
    Path(PathBuf),
    /// The http(s) address of a file.
    Url(String),
    /// `hf:owner/repo[@revision][:quant-or-file]`.
    Hub {
        /// `owner/repo`.
        repo: String,
        /// A branch, tag or commit; `main` when left out.
        revision: String,
        /// A quant (`Q4_K_M`) or a file's name.
        pick: Option<String>,
    },
}

impl ModelName {
    /// Reads a name as users write it.
    pub fn parse(name: &str) -> Result<Self> {
        let name = name.trim();
        let rest = |prefix: &str| name.strip_prefix(prefix);
        if name.is_empty() {
            return Err(Error::invalid("a model's name is empty"));
        }
        if let Some(builtin) = rest("builtin:") {
            return Ok(Self::Builtin(builtin.to_owned()));
        }
        if rest("random:").is_some() {
            return Ok(Self::Random(name.to_owned()));
        }
        if let Some(hub) = rest("hf:") {
            return parse_hub(hub);
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            // The hub's page of a file, as copied from a browser, stands for the file.
            return Ok(Self::Url(name.replacen("/blob/", "/resolve/", 1)));
        }
        if name.contains("://") {
            return Err(Error::invalid(format!("{name}: an address must begin with http:// or https://")));
        }
        Ok(Self::Path(PathBuf::from(name)))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::Random(name) | Self::Url(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Hub { repo, revision, pick } => {
                write!(f, "hf:{repo}")?;
                if revision != "main" {
                    write!(f, "@{revision}")?;
                }
                pick.iter().try_for_each(|pick| write!(f, ":{pick}"))
            }
        }
    }
}

fn parse_hub(name: &str) -> Result<ModelName> {
    let wrong = |what: &str| Error::invalid(format!("hf:{name}: {what}; wanted hf:OWNER/REPO[@REVISION][:QUANT]"));
    let (place, pick) = match name.split_once(':') {
        Some((_, "")) => return Err(wrong("nothing after the colon")),
        Some((place, pick)) => (place, Some(pick.to_owned())),
        None => (name, None),
    };
    let (repo, revision) = place.split_once('@').unwrap_or((place, "main"));
    let is_part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
    };
    match repo.split_once('/') {
        Some((owner, repo)) if is_part(owner) && is_part(repo) => {}
        _ => return Err(wrong("no owner and repository")),
    }
    if !revision.split('/').all(is_part) {
        return Err(wrong("a strange revision"));
    }
    Ok(ModelName::Hub { repo: repo.to_owned(), revision: revision.to_owned(), pick })
}
