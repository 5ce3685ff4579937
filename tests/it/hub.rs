//! Models from disk and from a hub: a small server on the loopback speaks the hub's addresses and misbehaves on demand.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use trice::hub::{self, DownloadProgress, HubOptions, ModelFiles, ModelName};
use trice::source::{HttpSource, Source};
use trice::{Error, Result};

/// What the server does wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The first answer breaks off after this many bytes.
    CutOnce(usize),
    /// Every answer is the whole file, with status 200.
    IgnoresRange,
    /// An HTML page with status 200.
    Html,
    /// The hub's listing gives another hash.
    WrongHash,
    /// The hub answers with a redirect to another path.
    Redirects,
    /// The first answers are status 503.
    FailsTwice,
}

#[derive(Default)]
struct State {
    files: HashMap<String, (Vec<u8>, Option<Fault>)>,
    /// ETag of every file.
    etag: String,
    /// Path and `Range` of every request.
    log: Vec<(String, Option<String>)>,
    failures: usize,
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    endpoint: String,
}

impl Server {
    fn start(files: &[(&str, &[u8], Option<Fault>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut state = State { etag: "\"one\"".to_owned(), ..State::default() };
        for (path, bytes, fault) in files {
            state.files.insert((*path).to_owned(), (bytes.to_vec(), *fault));
        }
        let server = Self { state: Arc::new(Mutex::new(state)), endpoint };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                std::thread::spawn(move || server.answer(stream));
            }
        });
        server
    }

    fn options(&self, cache: &Path) -> HubOptions {
        HubOptions {
            endpoint: self.endpoint.clone(),
            cache_dir: Some(cache.to_owned()),
            token: Some("secret".to_owned()),
            builtin_urls: BTreeMap::new(),
            offline: false,
        }
    }

    fn log(&self) -> Vec<(String, Option<String>)> {
        self.state.lock().unwrap().log.clone()
    }

    /// Requests for files, not for listings.
    fn ranges(&self) -> Vec<Option<String>> {
        self.log().into_iter().filter(|(path, _)| !path.starts_with("/api/")).map(|(_, range)| range).collect()
    }

    /// One request per connection.
    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut range = None;
        for line in lines {
            let line = line.ok()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ")?;
            if name.eq_ignore_ascii_case("range") {
                range = Some(value.to_owned());
            }
        }
        let reply = self.reply(&path, range);
        stream.write_all(&reply).ok()
    }

    fn reply(&self, path: &str, range: Option<String>) -> Vec<u8> {
        let mut state = self.state.lock().unwrap();
        state.log.push((path.to_owned(), range.clone()));
        if path.starts_with("/api/models/owner/repo/tree/main") {
            return reply("200 OK", "application/json", &[], &listing(&state));
        }
        let etag = state.etag.clone();
        let path = path.trim_start_matches("/owner/repo/resolve/main/").trim_start_matches("/elsewhere/").to_owned();
        let redirected = state.log.last().is_some_and(|(asked, _)| asked.starts_with("/elsewhere/"));
        let Some((bytes, fault)) = state.files.get(&path).cloned() else {
            return reply("404 Not Found", "text/plain", &[], b"no");
        };
        let start = range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        let end = range.as_ref().and_then(|range| range.rsplit('-').next()?.parse::<usize>().ok());
        let end = end.map_or(bytes.len(), |end| end + 1);
        let (mut status, mut headers) = ("200 OK", vec![format!("ETag: {etag}")]);
        let mut body = bytes.clone();
        if let Some(start) = start.filter(|_| fault != Some(Fault::IgnoresRange)) {
            status = "206 Partial Content";
            headers.push(format!("Content-Range: bytes {start}-{}/{}", end - 1, bytes.len()));
            body = bytes[start..end].to_vec();
        }
        match fault {
            Some(Fault::Html) => return reply("200 OK", "text/html; charset=utf-8", &[], b"<html>log in</html>"),
            Some(Fault::Redirects) if !redirected => {
                return reply("302 Found", "text/plain", &[format!("Location: /elsewhere/{path}")], b"");
            }
            Some(Fault::FailsTwice) if state.failures < 2 => {
                state.failures += 1;
                return reply("503 Service Unavailable", "text/plain", &[], b"busy");
            }
            Some(Fault::CutOnce(n)) if state.failures == 0 => {
                state.failures = 1;
                let whole = reply(status, "application/octet-stream", &headers, &body);
                return whole[..whole.len() - body.len() + n].to_vec();
            }
            _ => {}
        }
        reply(status, "application/octet-stream", &headers, &body)
    }
}

fn listing(state: &State) -> Vec<u8> {
    let mut entries = vec![serde_json::json!({"type": "directory", "path": "1_Pooling", "size": 0, "oid": "d"})];
    for (path, (bytes, fault)) in &state.files {
        let mut sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if *fault == Some(Fault::WrongHash) {
            sha256 = "0".repeat(64);
        }
        let lfs = serde_json::json!({"oid": sha256, "size": bytes.len(), "pointerSize": 1});
        entries.push(serde_json::json!({"type": "file", "path": path, "size": bytes.len(), "oid": "o", "lfs": lfs}));
    }
    serde_json::to_vec(&entries).unwrap()
}

fn reply(status: &str, kind: &str, headers: &[String], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    [text.as_bytes(), body].concat()
}

fn open(name: &str, options: &HubOptions) -> Result<ModelFiles> {
    pollster::block_on(hub::open(&ModelName::parse(name)?, options, &mut |_| ()))
}

fn read(source: &dyn Source) -> Vec<u8> {
    pollster::block_on(source.read(0, source.len() as usize)).unwrap()
}

fn refusal(name: &str, options: &HubOptions) -> String {
    match open(name, options) {
        Ok(files) => panic!("{name} gave {}", files.name),
        Err(error) => error.to_string(),
    }
}

/// Bytes that differ everywhere, so that a part in the wrong place shows.
fn weights() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_download_that_breaks_off_is_resumed() {
    let (weights, cache) = (weights(), tempfile::tempdir().unwrap());
    let server = Server::start(&[("m-Q4_K_M.gguf", &weights, Some(Fault::CutOnce(150_000)))]);
    let mut seen = Vec::new();
    let name = ModelName::parse("hf:owner/repo").unwrap();
    let mut progress = |progress: DownloadProgress| seen.push(progress);
    let files = pollster::block_on(hub::open(&name, &server.options(cache.path()), &mut progress)).unwrap();
    assert_eq!(read(files.weights[0].as_ref()), weights);
    assert_eq!(server.ranges(), [None, Some("bytes=150000-".to_owned())]);
    let last = seen.last().unwrap();
    assert_eq!((last.done, last.total), (400_000, Some(400_000)));
    // A second opening asks for the list only; without a network, for nothing.
    open("hf:owner/repo:Q4_K_M", &server.options(cache.path())).unwrap();
    assert_eq!(server.ranges().len(), 2);
    let offline =
        HubOptions { offline: true, endpoint: "http://127.0.0.1:1".to_owned(), ..server.options(cache.path()) };
    assert_eq!(read(open("hf:owner/repo", &offline).unwrap().weights[0].as_ref()), weights);
    assert!(refusal("hf:owner/other", &offline).contains("not in the cache"));
}

#[test]
fn a_file_that_changed_is_fetched_anew() {
    let (weights, cache) = (weights(), tempfile::tempdir().unwrap());
    let server = Server::start(&[("m.gguf", &weights, None)]);
    let folder = cache.path().join("hf/owner/repo/main");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("m.gguf.part"), b"bytes of an older version").unwrap();
    std::fs::write(folder.join("m.gguf.etag"), b"\"zero\"").unwrap();
    let files = open("hf:owner/repo:m.gguf", &server.options(cache.path())).unwrap();
    assert_eq!(read(files.weights[0].as_ref()), weights);
    assert_eq!(server.ranges(), [Some("bytes=25-".to_owned()), None]);
    // The hub lists another file under the same name: the one in the cache is out of date.
    let newer = vec![7; 1000];
    server.state.lock().unwrap().files.insert("m.gguf".to_owned(), (newer.clone(), None));
    let files = open("hf:owner/repo:m.gguf", &server.options(cache.path())).unwrap();
    assert_eq!(read(files.weights[0].as_ref()), newer);
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let (weights, cache) = (weights(), tempfile::tempdir().unwrap());
    let server = Server::start(&[("m.gguf", &weights, Some(Fault::IgnoresRange))]);
    let folder = cache.path().join("hf/owner/repo/main");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("m.gguf.part"), &weights[..1000]).unwrap();
    let files = open("hf:owner/repo", &server.options(cache.path())).unwrap();
    assert_eq!(read(files.weights[0].as_ref()), weights);
    let source = pollster::block_on(HttpSource::open(&format!("{}/m.gguf", server.endpoint), None));
    assert!(source.is_err(), "the path is not the hub's");
    let url = format!("{}/elsewhere/m.gguf", server.endpoint);
    let source = pollster::block_on(HttpSource::open(&url, None)).unwrap();
    assert_eq!(pollster::block_on(source.read(8, 4)).unwrap(), 2_u32.to_le_bytes());
}

#[test]
fn a_server_that_ignores_ranges_sends_a_file_once() {
    let weights = weights();
    let server = Server::start(&[("m.gguf", &weights, Some(Fault::IgnoresRange))]);
    let url = format!("{}/elsewhere/m.gguf", server.endpoint);
    let source = HttpSource::with_len(&url, None, weights.len() as u64);
    for (offset, value) in [(8, 2_u32), (399_996, 99_999), (0, 0)] {
        assert_eq!(pollster::block_on(source.read(offset, 4)).unwrap(), value.to_le_bytes());
    }
    assert_eq!(server.log().len(), 1);
    let longer = HttpSource::with_len(&url, None, weights.len() as u64 + 4);
    assert!(matches!(pollster::block_on(longer.read(8, 4)), Err(Error::Io { .. })), "the file is another one");
}

#[test]
fn wrong_answers_are_refused_and_leave_nothing() {
    let weights = weights();
    let cases = [(Fault::WrongHash, "its bytes hash to"), (Fault::Html, "HTML page")];
    for (fault, wanted) in cases {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(&[("m-Q8_0.gguf", &weights, Some(fault))]);
        let message = refusal("hf:owner/repo", &server.options(cache.path()));
        assert!(message.contains(wanted) && message.contains("m-Q8_0.gguf"), "{fault:?}: {message}");
        let folder = cache.path().join("hf/owner/repo/main");
        assert!(!folder.join("m-Q8_0.gguf").exists() && !folder.join("m-Q8_0.gguf.part").exists(), "{fault:?}");
    }
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let message = refusal("hf:owner/missing", &server.options(cache.path()));
    assert!(message.contains("hf:owner/missing") && message.contains("not found (HTTP 404)"), "{message}");
    let message = refusal(&format!("{}/elsewhere/none.gguf", server.endpoint), &server.options(cache.path()));
    assert!(message.contains("HTTP 404"), "{message}");
    let gone = HubOptions { endpoint: "http://127.0.0.1:1".to_owned(), ..server.options(cache.path()) };
    assert!(matches!(open("hf:owner/repo", &gone), Err(Error::Io { .. })));
}

#[test]
fn redirects_are_followed_and_failures_retried() {
    let weights = weights();
    for fault in [Fault::Redirects, Fault::FailsTwice] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(&[("m.gguf", &weights, Some(fault))]);
        let files = open("hf:owner/repo", &server.options(cache.path())).unwrap();
        assert_eq!(read(files.weights[0].as_ref()), weights, "{fault:?}");
    }
}

#[test]
fn quants_are_picked_by_name() {
    let cache = tempfile::tempdir().unwrap();
    let files = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-q5_k_m.gguf", "mmproj-F16.gguf", "big-00001-of-00002.gguf"];
    let mut all: Vec<(&str, &[u8], Option<Fault>)> = files.iter().map(|file| (*file, file.as_bytes(), None)).collect();
    all.push(("big-00002-of-00002.gguf", b"second", None));
    let server = Server::start(&all);
    let options = server.options(cache.path());
    let picked = |name: &str| -> Vec<Vec<u8>> {
        open(name, &options).unwrap().weights.iter().map(|source| read(source.as_ref())).collect()
    };
    assert_eq!(picked("hf:owner/repo"), [b"m-Q4_K_M.gguf"]);
    assert_eq!(picked("hf:owner/repo:q8_0"), [b"m-Q8_0.gguf"]);
    assert_eq!(picked("hf:owner/repo:Q5_K_M"), [b"m-q5_k_m.gguf"]);
    assert_eq!(picked("hf:owner/repo@main:big-00001-of-00002.gguf"), [&b"big-00001-of-00002.gguf"[..], b"second"]);
    let message = refusal("hf:owner/repo:Q2_K", &options);
    assert!(message.contains("no file matches Q2_K") && message.contains("m-Q8_0.gguf"), "{message}");
}

#[test]
fn a_folder_of_safetensors_is_fetched_with_its_side_files() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[
        ("config.json", b"{}", None),
        ("tokenizer.json", b"{\"a\": 1}", None),
        ("1_Pooling/config.json", b"[]", None),
        ("model.safetensors", b"weights", None),
        ("onnx/model.onnx", b"other", None),
    ]);
    let files = open("hf:owner/repo", &server.options(cache.path())).unwrap();
    assert_eq!(files.side.keys().collect::<Vec<_>>(), ["1_Pooling/config.json", "config.json", "tokenizer.json"]);
    assert_eq!(read(files.side["tokenizer.json"].as_ref()), b"{\"a\": 1}");
    assert_eq!(read(files.weights[0].as_ref()), b"weights");
    assert!(!server.log().iter().any(|(path, _)| path.contains("onnx")));
}

#[test]
fn a_listing_cannot_write_outside_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("../../../m.gguf", b"evil", None)]);
    assert!(refusal("hf:owner/repo", &server.options(cache.path())).contains("outside"));
}

#[test]
fn parts_of_a_url_are_read_by_range() {
    let weights = weights();
    let server =
        Server::start(&[("m.gguf", &weights, Some(Fault::Redirects)), ("page.gguf", b"page", Some(Fault::Html))]);
    let url = format!("{}/owner/repo/resolve/main/m.gguf", server.endpoint);
    let source = pollster::block_on(HttpSource::open(&url, None)).unwrap();
    assert_eq!(source.len(), 400_000);
    assert_eq!(pollster::block_on(source.read(399_996, 4)).unwrap(), 99_999_u32.to_le_bytes());
    assert!(pollster::block_on(source.read(399_997, 4)).is_err());
    server.state.lock().unwrap().files.insert("m.gguf".to_owned(), (vec![0; 10], None));
    assert!(pollster::block_on(source.read(0, 4)).is_err(), "the file is another one now");
    let page = format!("{}/owner/repo/resolve/main/page.gguf", server.endpoint);
    assert!(matches!(pollster::block_on(HttpSource::open(&page, None)), Err(Error::Format { .. })));
}

#[test]
fn names_are_read() {
    let hub = |name: &str| ModelName::parse(name).unwrap();
    let repo = "owner/repo".to_owned();
    let pick = Some("Q4_K_M".to_owned());
    assert_eq!(hub("hf:owner/repo"), ModelName::Hub { repo: repo.clone(), revision: "main".into(), pick: None });
    assert_eq!(hub("hf:owner/repo@v1:Q4_K_M"), ModelName::Hub { repo, revision: "v1".into(), pick });
    assert_eq!(hub("builtin:stories"), ModelName::Builtin("stories".into()));
    assert_eq!(hub("random:15m:Q4_0"), ModelName::Random("random:15m:Q4_0".into()));
    assert_eq!(hub("a/b.gguf"), ModelName::Path("a/b.gguf".into()));
    let page = "https://hub.test/o/r/blob/main/m.gguf";
    assert_eq!(hub(page), ModelName::Url("https://hub.test/o/r/resolve/main/m.gguf".into()));
    for wrong in ["", "hf:", "hf:owner", "hf:owner/../x", "hf:owner/repo:", "hf:o/r@../x", "ftp://x/y.gguf"] {
        assert!(matches!(ModelName::parse(wrong), Err(Error::Invalid { .. })), "{wrong}");
    }
}

#[test]
fn models_on_disk_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for name in ["story.gguf", "split-00001-of-00002.gguf"] {
        std::fs::write(at(name), name).unwrap();
    }
    let options = HubOptions::default();
    assert_eq!(read(open(&at("story.gguf"), &options).unwrap().weights[0].as_ref()), b"story.gguf");
    let message = refusal(&at("stori.gguf"), &options);
    assert!(message.contains("no such file; did you mean") && message.contains("story.gguf"), "{message}");
    let message = refusal(&at("split-00001-of-00002.gguf"), &options);
    assert!(message.contains("split-00002-of-00002.gguf is missing"), "{message}");
    assert!(refusal("owner/repo-of-the-hub", &options).contains("hf:owner/repo-of-the-hub"));
    std::fs::create_dir(at("hf")).unwrap();
    assert!(refusal(&at("hf"), &options).contains("config.json and model.safetensors wanted"));
    std::fs::write(at("hf/model.safetensors"), b"weights").unwrap();
    assert!(refusal(&at("hf"), &options).contains("no config.json"));
    std::fs::write(at("hf/config.json"), b"{}").unwrap();
    let files = open(&at("hf"), &options).unwrap();
    assert_eq!((files.weights.len(), files.side.len()), (1, 1));
}

#[test]
fn builtin_models_are_here() {
    for name in hub::builtin_names() {
        let files = open(&format!("builtin:{name}"), &HubOptions::default()).unwrap();
        assert_eq!(&read(files.weights[0].as_ref())[..4], b"GGUF");
    }
    let message = refusal("builtin:none", &HubOptions::default());
    assert!(message.contains("builtin:stories, builtin:sentiment, builtin:intent, builtin:embed"), "{message}");
}
