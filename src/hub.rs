//! Model names to sources: `builtin:…`, a path, an address, `hf:owner/repo[@revision][:quant]`. Natively what comes over
//! the network is downloaded into a cache first, resumable and checked; in a browser it is read by ranges, unless the page's
//! own store (`web/store.js`) fetches the files that `remote_files` names.

use crate::error::{Error, Result};
#[cfg(any(target_arch = "wasm32", not(feature = "hub")))]
use crate::source::HttpSource;
use crate::source::Source;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

mod listing;
mod name;

#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
mod cache;
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
mod download;
#[cfg(not(target_arch = "wasm32"))]
mod local;

pub use listing::PEFT_CONFIG;
pub(crate) use listing::PEFT_WEIGHTS;
pub use name::ModelName;

/// The folder for what is kept between runs: downloads, tunings.
///
/// # Errors
/// `Invalid` where the environment names none.
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
pub fn cache_folder() -> Result<PathBuf> {
    Ok(cache::Cache::new(&HubOptions::default())?.root().to_owned())
}

/// Writes a small file whole or not at all.
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
pub fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    cache::write(path, bytes)
}

/// The public hub.
const PUBLIC_ENDPOINT: &str = "https://huggingface.co";

/// Models that come with the program.
#[cfg(not(target_arch = "wasm32"))]
const BUILTIN: &[(&str, &[u8])] = &[
    ("stories", include_bytes!("../models/stories.gguf")),
    ("sentiment", include_bytes!("../models/sentiment.gguf")),
    ("intent", include_bytes!("../models/intent.gguf")),
    ("embed", include_bytes!("../models/embed.gguf")),
];

/// Models that lie beside the page.
#[cfg(target_arch = "wasm32")]
const BUILTIN: &[(&str, &[u8])] = &[("stories", &[]), ("sentiment", &[]), ("intent", &[]), ("embed", &[])];

/// The files of one model, opened but not read.
pub struct ModelFiles {
    /// What to call the model.
    pub name: String,
    /// The weights: GGUF shards or safetensors shards in order.
    pub weights: Vec<Rc<dyn Source>>,
    /// The rest by file name: `config.json`, `tokenizer.json`, `tokenizer_config.json`, `1_Pooling/config.json`, …
    pub side: BTreeMap<String, Rc<dyn Source>>,
}

/// Where models come from and go to.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The hub's address; `HF_ENDPOINT` in the environment chooses a mirror.
    pub endpoint: String,
    /// Where downloads are kept; none means `TRICE_CACHE`, else `$XDG_CACHE_HOME/trice`, else `~/.cache/trice`.
    pub cache_dir: Option<PathBuf>,
    /// The hub's access token; `HF_TOKEN` in the environment.
    pub token: Option<String>,
    /// In a browser: where each built-in model lies.
    pub builtin_urls: BTreeMap<String, String>,
    /// Use what the cache holds and ask no server; `HF_HUB_OFFLINE=1` in the environment.
    pub offline: bool,
}

impl Default for HubOptions {
    fn default() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_ENDPOINT.to_owned()),
            cache_dir: None,
            token: variable("HF_TOKEN"),
            builtin_urls: BTreeMap::new(),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| value != "0"),
        }
    }
}

impl HubOptions {
    /// The token, for addresses of the hub itself only.
    pub(crate) fn token_for(&self, url: &str) -> Option<&str> {
        let endpoint = format!("{}/", self.endpoint.trim_end_matches('/'));
        self.token.as_deref().filter(|_| url.starts_with(&endpoint))
    }
}

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// The file being fetched.
    pub file: String,
    /// Bytes of it that are here.
    pub done: u64,
    /// Its bytes, where the server tells.
    pub total: Option<u64>,
}

/// A file that lies on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemoteFile {
    /// Its name in the model: `model-00001-of-00002.gguf`, `1_Pooling/config.json`.
    pub path: String,
    /// Its address.
    pub url: String,
    /// Its bytes, where known.
    pub size: Option<u64>,
    /// What its bytes must hash to, where known.
    pub sha256: Option<String>,
    /// Names this version of it, where known.
    pub version: Option<String>,
}

/// One of the models that a repository holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepoChoice {
    /// What to write behind the colon of `hf:owner/repo:…`: a file's path, or `safetensors`.
    pub pick: String,
    /// Bytes of its weights, where the hub tells.
    pub n_bytes: Option<u64>,
}

/// The files of a model on a server.
#[derive(Clone, Debug, Default)]
struct RemoteModel {
    weights: Vec<RemoteFile>,
    side: Vec<RemoteFile>,
}

/// Names of the built-in models.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// Opens a model's files, fetching them first where they are not here. Random models have no files: they are
/// `Checkpoint::random`'s.
pub async fn open(
    name: &ModelName,
    options: &HubOptions,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<ModelFiles> {
    match name {
        ModelName::Builtin(builtin) => open_builtin(builtin, options).await,
        ModelName::Random(random) => Err(Error::invalid(format!("{random}: a random model has no files"))),
        ModelName::Path(path) => open_path(path),
        ModelName::Url(_) | ModelName::Hub { .. } => {
            open_remote(name.to_string(), locate(name, options).await?, options, progress).await
        }
    }
}

/// The files of a model of the network, small ones first.
///
/// # Errors
/// `Invalid` for models that come from elsewhere, and what asking the hub gives.
pub async fn remote_files(name: &ModelName, options: &HubOptions) -> Result<Vec<RemoteFile>> {
    let RemoteModel { mut side, weights } = locate(name, options).await?;
    side.extend(weights);
    Ok(side)
}

/// The models that a repository holds, smallest first.
///
/// # Errors
/// `Invalid` for names that are not the hub's, and what asking the hub gives.
pub async fn choices(name: &ModelName, options: &HubOptions) -> Result<Vec<RepoChoice>> {
    let ModelName::Hub { repo, revision, .. } = name else {
        return Err(Error::invalid(format!("{name}: a name of the hub wanted, hf:OWNER/REPO")));
    };
    Ok(list_repo(repo, revision, options).await?.choices())
}

async fn locate(name: &ModelName, options: &HubOptions) -> Result<RemoteModel> {
    match name {
        ModelName::Url(url) => listing::of_url(url),
        ModelName::Hub { repo, revision, pick } => list_repo(repo, revision, options).await?.pick(pick.as_deref()),
        _ => Err(Error::invalid(format!("{name}: a model of the network wanted, hf:OWNER/REPO or an address"))),
    }
}

/// Bytes in hexadecimal, as digests are written.
#[cfg(any(target_arch = "wasm32", feature = "hub"))]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(not(target_arch = "wasm32"))]
async fn open_builtin(name: &str, _options: &HubOptions) -> Result<ModelFiles> {
    let bytes = builtin_bytes(name)?;
    let name = format!("builtin:{name}");
    let source = Rc::new(crate::source::MemorySource::new(name.clone(), bytes));
    Ok(ModelFiles { name, weights: vec![source], side: BTreeMap::new() })
}

#[cfg(target_arch = "wasm32")]
async fn open_builtin(name: &str, options: &HubOptions) -> Result<ModelFiles> {
    builtin_bytes(name)?;
    let url = options.builtin_urls.get(name);
    let url = url.ok_or_else(|| Error::invalid(format!("builtin:{name}: nobody said where it lies")))?;
    let source = HttpSource::open(url, None).await?;
    Ok(ModelFiles { name: format!("builtin:{name}"), weights: vec![Rc::new(source)], side: BTreeMap::new() })
}

fn builtin_bytes(name: &str) -> Result<&'static [u8]> {
    let found = BUILTIN.iter().find(|(builtin, _)| *builtin == name);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| {
        let names = builtin_names().map(|name| format!("builtin:{name}")).collect::<Vec<_>>().join(", ");
        Error::invalid(format!("builtin:{name}: there is no such built-in model (there are {names})"))
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn open_path(path: &std::path::Path) -> Result<ModelFiles> {
    local::open(path)
}

#[cfg(target_arch = "wasm32")]
fn open_path(path: &std::path::Path) -> Result<ModelFiles> {
    let path = path.display();
    Err(Error::invalid(format!("{path}: a page opens no paths; wanted builtin:NAME, hf:OWNER/REPO or an address")))
}

/// Natively: through the cache.
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
async fn open_remote(
    name: String,
    remote: RemoteModel,
    options: &HubOptions,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<ModelFiles> {
    let cache = cache::Cache::new(options)?;
    let folder = cache.folder(&name);
    let mut files = ModelFiles { name, weights: Vec::new(), side: BTreeMap::new() };
    // Small files first: a model that lacks one is known before gigabytes are fetched.
    for file in &remote.side {
        files.side.insert(file.path.clone(), open_cached(file, &folder, options, progress).await?);
    }
    for file in &remote.weights {
        files.weights.push(open_cached(file, &folder, options, progress).await?);
    }
    Ok(files)
}

#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
async fn open_cached(
    file: &RemoteFile,
    folder: &std::path::Path,
    options: &HubOptions,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<Rc<dyn Source>> {
    let path = cache::join(folder, &file.path)?;
    match (options.offline, path.exists()) {
        (true, true) => {}
        (true, false) => {
            return Err(Error::io(path.display().to_string(), not_cached()));
        }
        (false, _) => download::fetch(file, &path, options.token_for(&file.url), progress).await?,
    }
    Ok(Rc::new(crate::source::FileSource::open(path)?))
}

/// In a browser, and in builds without a network: by ranges, where it lies.
#[cfg(any(target_arch = "wasm32", not(feature = "hub")))]
async fn open_remote(
    name: String,
    remote: RemoteModel,
    options: &HubOptions,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<ModelFiles> {
    let mut files = ModelFiles { name, weights: Vec::new(), side: BTreeMap::new() };
    for file in &remote.side {
        files.side.insert(file.path.clone(), open_ranged(file, options).await?);
    }
    for file in &remote.weights {
        let source = open_ranged(file, options).await?;
        progress(DownloadProgress { file: file.path.clone(), done: 0, total: Some(source.len()) });
        files.weights.push(source);
    }
    Ok(files)
}

#[cfg(any(target_arch = "wasm32", not(feature = "hub")))]
async fn open_ranged(file: &RemoteFile, options: &HubOptions) -> Result<Rc<dyn Source>> {
    let token = options.token_for(&file.url);
    Ok(match file.size {
        Some(size) => Rc::new(HttpSource::with_len(&file.url, token, size)),
        None => Rc::new(HttpSource::open(&file.url, token).await?),
    })
}

#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
fn not_cached() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NetworkUnreachable, "it is not in the cache, and the network is off")
}

/// The files of a repository; natively the last answer is kept for when the hub cannot be reached.
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
async fn list_repo(repo: &str, revision: &str, options: &HubOptions) -> Result<listing::Listing> {
    let cache = cache::Cache::new(options)?;
    let kept = cache.folder(&format!("hf:{repo}@{revision}")).join(".listing.json");
    let asked = match options.offline {
        true => Err(Error::io(format!("hf:{repo}"), not_cached())),
        false => listing::fetch(repo, revision, options).await,
    };
    match asked {
        Ok(bytes) => {
            cache::write(&kept, &bytes)?;
            listing::Listing::parse(repo, revision, &options.endpoint, &bytes)
        }
        Err(error) => match std::fs::read(&kept) {
            Ok(bytes) if !is_refusal(&error) => listing::Listing::parse(repo, revision, &options.endpoint, &bytes),
            _ => Err(error),
        },
    }
}

/// The server answered, and the answer is no.
#[cfg(all(not(target_arch = "wasm32"), feature = "hub"))]
fn is_refusal(error: &Error) -> bool {
    use std::io::ErrorKind;
    matches!(error, Error::Io { source, .. } if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied))
}

#[cfg(any(target_arch = "wasm32", not(feature = "hub")))]
async fn list_repo(repo: &str, revision: &str, options: &HubOptions) -> Result<listing::Listing> {
    let bytes = listing::fetch(repo, revision, options).await?;
    listing::Listing::parse(repo, revision, &options.endpoint, &bytes)
}
