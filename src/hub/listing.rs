//! Which files of a repository make a model.

use super::{HubOptions, RemoteFile, RemoteModel, RepoChoice};
use crate::error::{Error, Result};
use crate::source::{FetchRequest, fetch, http};
use serde::Deserialize;

/// The names of PEFT's settings and weights in the folder of an adapter.
pub const PEFT_CONFIG: &str = "adapter_config.json";
pub(crate) const PEFT_WEIGHTS: &str = "adapter_model.safetensors";

/// Bytes of a repository's listing.
const MAX_LISTING_BYTES: usize = 16 << 20;
/// Quants in the order they are chosen when the user names none.
const PREFERRED: [&str; 9] = ["Q4_K_M", "Q4_0", "Q4_K_S", "Q8_0", "Q5_K_M", "Q6_K", "F16", "BF16", "F32"];
/// Files beside the weights that Trice reads.
pub(super) const SIDE_FILES: [&str; 13] = [
    "config.json",
    PEFT_CONFIG,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "vocab.txt",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "modules.json",
    "model.safetensors.index.json",
];

/// The files of a repository.
#[derive(Debug)]
pub(super) struct Listing {
    repo: String,
    files: Vec<RemoteFile>,
}

/// One entry of the hub's answer.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    size: Option<u64>,
    oid: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    /// SHA-256 of the file.
    oid: Option<String>,
    size: Option<u64>,
}

/// Asks the hub for a repository's files.
pub(super) async fn fetch(repo: &str, revision: &str, options: &HubOptions) -> Result<Vec<u8>> {
    let endpoint = options.endpoint.trim_end_matches('/');
    let url = format!("{endpoint}/api/models/{repo}/tree/{}?recursive=true", escape(revision));
    let reply = fetch::get(&FetchRequest { url: &url, token: options.token.as_deref(), range: None }).await?;
    http::check_status(&format!("hf:{repo}@{revision} at {endpoint}"), reply.status)?;
    http::refuse_html(&url, reply.content_type.as_deref())?;
    reply.bytes(MAX_LISTING_BYTES).await
}

impl Listing {
    /// Reads the hub's answer.
    pub(super) fn parse(repo: &str, revision: &str, endpoint: &str, bytes: &[u8]) -> Result<Self> {
        let repo = format!("hf:{repo}@{revision}");
        let entries: Vec<Entry> = serde_json::from_slice(bytes)
            .map_err(|error| Error::format(&repo, format!("a list of files wanted from the hub: {error}")))?;
        let place = format!("{}/{}/resolve/{}", endpoint.trim_end_matches('/'), plain(&repo), escape(revision));
        let to_file = |entry: Entry| {
            let (sha256, size) = entry.lfs.map_or((None, None), |lfs| (lfs.oid, lfs.size));
            RemoteFile {
                url: format!("{place}/{}", entry.path.split('/').map(escape).collect::<Vec<_>>().join("/")),
                size: size.or(entry.size),
                version: sha256.clone().or(entry.oid),
                sha256,
                path: entry.path,
            }
        };
        let files = entries.into_iter().filter(|entry| entry.kind == "file").map(to_file).collect();
        Ok(Self { repo, files })
    }

    /// The files of the model that `pick` names by quant or file name; without it the most useful one.
    pub(super) fn pick(&self, pick: Option<&str>) -> Result<RemoteModel> {
        let mut ggufs: Vec<&RemoteFile> = self.files.iter().filter(|file| is_gguf_model(&file.path)).collect();
        ggufs.sort_by(|a, b| a.path.cmp(&b.path));
        let found = match pick {
            Some(pick) => ggufs.iter().find(|file| matches(&file.path, pick)),
            None => PREFERRED.iter().find_map(|quant| ggufs.iter().find(|file| matches(&file.path, quant))),
        };
        if let Some(file) = found.or(if pick.is_none() { ggufs.first() } else { None }) {
            return self.with_shards(file);
        }
        match pick {
            None => self.safetensors(),
            Some(pick) if pick.eq_ignore_ascii_case("safetensors") => self.safetensors(),
            Some(pick) => {
                let names: Vec<&str> = ggufs.iter().map(|file| file.path.as_str()).collect();
                let there = if names.is_empty() { "no GGUF files".to_owned() } else { names.join(", ") };
                Err(Error::invalid(format!("{}: no file matches {pick}; there are {there}", self.repo)))
            }
        }
    }

    /// Every model that `pick` can find, smallest first; splits that lack a part are none.
    pub(super) fn choices(&self) -> Vec<RepoChoice> {
        let choice = |pick: &str, model: &RemoteModel| RepoChoice {
            pick: pick.to_owned(),
            n_bytes: model.weights.iter().map(|file| file.size).sum(),
        };
        let ggufs = self.files.iter().filter(|file| is_gguf_model(&file.path));
        let mut found: Vec<RepoChoice> =
            ggufs.filter_map(|file| Some(choice(&file.path, &self.with_shards(file).ok()?))).collect();
        found.extend(self.safetensors().ok().map(|model| choice("safetensors", &model)));
        found.sort_by(|a, b| (a.n_bytes, &a.pick).cmp(&(b.n_bytes, &b.pick)));
        found
    }

    fn with_shards(&self, first: &RemoteFile) -> Result<RemoteModel> {
        let find = |path: &str| self.files.iter().find(|file| file.path == path).cloned();
        let missing = |path: &str| Error::format(&self.repo, format!("a split model lacks its part {path}"));
        let paths = shards(&first.path);
        let weights = paths.iter().map(|path| find(path).ok_or_else(|| missing(path))).collect::<Result<_>>()?;
        Ok(RemoteModel { weights, side: Vec::new() })
    }

    fn safetensors(&self) -> Result<RemoteModel> {
        let find = |path: &str| self.files.iter().find(|file| file.path == path);
        let mut weights: Vec<RemoteFile> = match find("model.safetensors") {
            Some(single) => vec![single.clone()],
            None if find(PEFT_CONFIG).is_some() => find(PEFT_WEIGHTS).cloned().into_iter().collect(),
            None => self.files.iter().filter(|file| is_safetensors_shard(&file.path)).cloned().collect(),
        };
        weights.sort_by(|a, b| a.path.cmp(&b.path));
        if weights.is_empty() || find("config.json").or(find(PEFT_CONFIG)).is_none() {
            let wanted = "a GGUF file, or config.json with model.safetensors, wanted; it has neither";
            return Err(Error::format(&self.repo, wanted));
        }
        let side = SIDE_FILES.iter().filter_map(|path| find(path)).cloned().collect();
        Ok(RemoteModel { weights, side })
    }
}

/// The one file, or the shards, that an address stands for.
pub(super) fn of_url(url: &str) -> Result<RemoteModel> {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let (place, file) = address.rsplit_once('/').unwrap_or(("", address));
    if !file.ends_with(".gguf") && !file.ends_with(".safetensors") {
        return Err(Error::invalid(format!("{url}: the address of a .gguf or .safetensors file wanted")));
    }
    let to_file = |path: String| RemoteFile {
        url: query.map_or(format!("{place}/{path}"), |query| format!("{place}/{path}?{query}")),
        path,
        size: None,
        sha256: None,
        version: None,
    };
    Ok(RemoteModel { weights: shards(file).into_iter().map(to_file).collect(), side: Vec::new() })
}

/// All parts of a split file, given any of them; an unsplit file is its only part.
pub(super) fn shards(path: &str) -> Vec<String> {
    let number = |digits: &str| match digits.len() {
        5 => digits.parse::<u32>().ok(),
        _ => None,
    };
    let split = path.strip_suffix(".gguf").and_then(|stem| {
        let (stem, count) = stem.rsplit_once("-of-")?;
        let (stem, index) = stem.rsplit_once('-')?;
        number(index)?;
        Some((stem, number(count)?))
    });
    match split {
        Some((stem, count @ 1..=9999)) => {
            (1..=count).map(|index| format!("{stem}-{index:05}-of-{count:05}.gguf")).collect()
        }
        _ => vec![path.to_owned()],
    }
}

/// First parts and whole files; not the projectors of vision models.
fn is_gguf_model(path: &str) -> bool {
    let first = shards(path).first().is_some_and(|first| first == path);
    path.ends_with(".gguf") && first && !path.contains("mmproj")
}

/// `model-00001-of-00003.safetensors`.
pub(super) fn is_safetensors_shard(path: &str) -> bool {
    path.starts_with("model-") && path.contains("-of-") && path.ends_with(".safetensors")
}

/// Whether `pick` is the file's path or name, or a quant in its name: `Q4_K` is not in `x-Q4_K_M.gguf`.
fn matches(path: &str, pick: &str) -> bool {
    let (path, pick) = (path.to_ascii_lowercase(), pick.to_ascii_lowercase());
    if path == pick || path.rsplit('/').next() == Some(pick.as_str()) {
        return true;
    }
    let ends_word = |text: &str| text.chars().next_back().is_none_or(|c| "-._/".contains(c));
    let begins_word = |text: &str| text.chars().next().is_none_or(|c| "-./".contains(c));
    path.match_indices(&pick).any(|(at, _)| ends_word(&path[..at]) && begins_word(&path[at + pick.len()..]))
}

/// `hf:owner/repo@revision` without what surrounds `owner/repo`.
fn plain(repo: &str) -> &str {
    let repo = repo.strip_prefix("hf:").unwrap_or(repo);
    repo.split_once('@').map_or(repo, |(repo, _)| repo)
}

/// Percent-encodes a path segment.
fn escape(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quants_are_found_as_words() {
        assert!(matches("Model-Q4_K_M.gguf", "q4_k_m"));
        assert!(matches("sub/model.Q8_0.gguf", "Q8_0"));
        assert!(matches("model-f16.gguf", "model-F16.gguf"));
        assert!(!matches("model-Q4_K_M.gguf", "Q4_K"));
        assert!(!matches("model-IQ4_0.gguf", "Q4_0"));
    }

    #[test]
    fn a_repository_lists_its_models() {
        let file = |path: &str, size: u64| format!(r#"{{"type":"file","path":"{path}","size":{size}}}"#);
        let paths = [("m-Q8_0.gguf", 90), ("m-Q4_K_M.gguf", 50), ("mmproj-F16.gguf", 5), ("README.md", 1)];
        let split = [("big-00001-of-00002.gguf", 70), ("big-00002-of-00002.gguf", 30), ("half-00001-of-00002.gguf", 9)];
        let entries: Vec<String> = paths.iter().chain(&split).map(|(path, size)| file(path, *size)).collect();
        let listing =
            Listing::parse("a/b", "main", "https://hub", format!("[{}]", entries.join(",")).as_bytes()).unwrap();
        let found: Vec<_> = listing.choices().into_iter().map(|choice| (choice.pick, choice.n_bytes)).collect();
        let wanted = [("m-Q4_K_M.gguf", 50), ("m-Q8_0.gguf", 90), ("big-00001-of-00002.gguf", 100)];
        assert_eq!(found, wanted.map(|(pick, n_bytes)| (pick.to_owned(), Some(n_bytes))));
    }

    #[test]
    fn splits_name_all_their_parts() {
        assert_eq!(shards("a/m-00002-of-00002.gguf"), ["a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf"]);
        assert_eq!(shards("m-1-of-2.gguf"), ["m-1-of-2.gguf"]);
    }
}
