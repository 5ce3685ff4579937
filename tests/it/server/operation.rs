//! The server's life: the page, loading, stopping, a full queue, clients that leave, the log, the metrics.

use super::{CHAT, assert_refused, bare, completion, loaded};
use crate::common::toy::{DIM, Toy};
use crate::program::{HANG, Server, folder_with, last_error, post, run};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::mpsc;
use std::thread;
use trice::format::DType;

#[test]
fn the_page_is_served_with_types_and_ranges() {
    let files: [(&str, &[u8]); 3] =
        [("index.html", b"<p>hello</p>"), ("pkg/trice_bg.wasm", b"\0asm56789"), ("web/app.js", b"export {};")];
    let folder = folder_with(&files);
    let outside = folder_with(&[("secret.txt", b"secret")]);
    let server = bare(&["--site", &folder.path().display().to_string()]);
    for (path, content_type, body) in [
        ("/", "text/html", "<p>hello</p>"),
        ("/pkg/trice_bg.wasm", "application/wasm", "\0asm56789"),
        ("/web/app.js", "text/javascript", "export {};"),
    ] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.text().as_str()), (200, body), "{path}");
        assert!(reply.header("content-type").unwrap().starts_with(content_type), "{path}: {reply:?}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    let range = "GET /pkg/trice_bg.wasm HTTP/1.1\r\nHost: localhost\r\nRange: bytes=4-5\r\nConnection: close\r\n\r\n";
    let reply = server.send(range.as_bytes());
    assert_eq!((reply.status, reply.text().as_str()), (206, "56"));
    let secret = outside.path().join("secret.txt").display().to_string();
    for path in
        [format!("/{secret}"), format!("/..{secret}"), format!("/%2e%2e%2f%2e%2e{secret}"), format!("//{secret}")]
    {
        assert_ne!(server.get(&path).status, 200, "{path}");
    }
}

#[test]
fn without_a_page_there_is_a_hint() {
    let folder = folder_with(&[]);
    let reply = bare(&["--site", &folder.path().display().to_string()]).get("/");
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("cargo xtask web"));
}

#[test]
fn a_model_that_does_not_load_ends_the_server() {
    let output = run(&["serve", "--port", "0", "./no-such-model.gguf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_error(&output).contains("no-such-model.gguf"), "{}", last_error(&output));
}

#[test]
fn without_a_model_the_api_says_so() {
    let mut server = bare(&[]);
    server.wait_for_log("the API has no model");
    let reply = server.get("/health");
    assert_refused("health", &reply, 503);
    assert!(reply.header("retry-after").is_some());
    assert_refused("chat", &server.post(CHAT, r#"{"messages":[{"role":"user","content":"hi"}]}"#), 503);
}

#[cfg(unix)]
#[test]
fn sigterm_ends_the_server_cleanly() {
    let server = bare(&[]);
    // An answered request: the server is past its start.
    assert_eq!(server.get("/nope").status, 404);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
}

/// Every model answers as it does where all are loaded, and the log says which made room.
#[cfg(unix)]
#[test]
fn gpu_models_make_room_for_each_other() {
    let models = ["builtin:stories", "builtin:sentiment", "builtin:embed"];
    let story = completion("Once", json!({"max_tokens": 8}));
    let ask = |server: &Server| {
        let texts = json!({"input": ["I loved it"]}).to_string();
        let label = server.post("/v1/classify", &texts).json()["data"][0]["labels"][0].clone();
        let vector = server.post("/v1/embeddings", &texts).json()["data"][0]["embedding"].clone();
        let text = server.post("/v1/completions", &story).json()["choices"][0]["text"].clone();
        assert!(label.is_object() && vector.is_array() && text.is_string(), "{label} {text}");
        (label, vector, text)
    };
    let Some(roomy) = loaded(&models) else { return };
    let wanted = ask(&roomy);
    for (limit, parallel, n_unloaded) in [("1", "1", 6), ("2", "2", 5)] {
        let server = loaded(&[&models[..], &["--max-models", limit, "--parallel", parallel]].concat()).unwrap();
        assert_eq!(server.get("/v1/models").json()["data"].as_array().unwrap().len(), 3);
        for _ in 0..2 {
            assert_eq!(ask(&server), wanted, "{limit} models at once");
        }
        server.signal("TERM");
        let (code, log) = server.wait();
        assert_eq!((code, log.matches("unloaded").count()), (Some(0), n_unloaded), "{log}");
    }
}

/// Finite weights whose products are not numbers: the same request fails every time, on a device that is well.
#[cfg(unix)]
#[test]
fn gpu_outputs_that_are_no_numbers_do_not_reload_the_models() {
    let broken = Toy::bert().weights("blk.1.layer_output_norm.weight", DType::F32, &[DIM], &[3e38; 64]);
    let folder = folder_with(&[("toy.gguf", &broken.gguf())]);
    let path = folder.path().join("toy.gguf").display().to_string();
    let Some(server) = loaded(&[&path]) else { return };
    let body = json!({"model": path, "input": "a b"}).to_string();
    for _ in 0..2 {
        assert_refused("embeddings", &server.post("/v1/embeddings", &body), 500);
        assert_eq!(server.get("/health").status, 200);
    }
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("not numbers") && !log.contains("loading again"), "{log}");
}

#[test]
fn gpu_a_client_that_leaves_stops_its_answer() {
    // Random weights do not end by themselves.
    let Some(mut server) = loaded(&["random:15m"]) else { return };
    let endless = json!({"model": "random:15m", "temperature": 2, "top_k": 0, "max_tokens": 4000, "stream": true});
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().write_all(&post("/v1/completions", "", completion("The", endless).as_bytes())).unwrap();
    let (mut line, mut n_events) = (String::new(), 0);
    while n_events < 5 {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended early");
        n_events += usize::from(line.starts_with("data: "));
    }
    drop(stream);
    let log = server.wait_for_log("generated");
    assert!(log.contains("Cancelled"), "{log}");
    let next = server.post("/v1/completions", completion("Once", json!({"model": "random:15m"})));
    assert_eq!(next.status, 200);
}

#[test]
fn gpu_a_full_queue_says_come_back_later() {
    const QUEUE: usize = 512;
    const ASKED: usize = QUEUE + 60;
    let Some(server) = loaded(&["random:15m"]) else { return };
    let body = |stream: bool| {
        // The context shifts: an answer that ended with it would let the next of the queue in.
        let extra = json!({"model": "random:15m", "max_tokens": 1_000_000, "overflow": "shift", "stream": stream});
        post("/v1/completions", "", completion("The", extra).as_bytes())
    };
    // One answer that does not end keeps the engine busy while the others queue.
    let mut busy = BufReader::new(server.connect());
    busy.get_mut().write_all(&body(true)).unwrap();
    assert!(busy.read_line(&mut String::new()).unwrap() > 0);
    let (refusals, refused) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..ASKED {
            let (mut stream, refusals) = (server.connect(), refusals.clone());
            stream.write_all(&body(false)).unwrap();
            scope.spawn(move || {
                let mut reply = Vec::new();
                // Those that were queued end with the server.
                if stream.read_to_end(&mut reply).is_ok() && reply.starts_with(b"HTTP/1.1 503") {
                    refusals.send(String::from_utf8(reply).unwrap().to_lowercase()).unwrap();
                }
            });
        }
        for _ in QUEUE..ASKED {
            let reply = refused.recv_timeout(HANG).expect("a refusal for each beyond the queue");
            assert!(reply.contains("retry-after: ") && reply.contains("queue_full"), "{reply}");
        }
        assert_eq!(server.get("/health").status, 200);
        drop(server);
    });
}

/// A connection from another address of this machine.
#[cfg(target_os = "linux")]
fn connect_from(server: &Server, from: &str) -> std::net::TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(server.address.parse().unwrap()).await.unwrap()
    });
    let stream = connected.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

/// While one answer keeps the engine busy, one client queues six requests and then another queues one.
#[cfg(target_os = "linux")]
#[test]
fn gpu_clients_take_turns() {
    let Some(server) = loaded(&["random:15m"]) else { return };
    let request = |tokens: usize, stream: bool| {
        let extra =
            json!({"model": "random:15m", "max_tokens": tokens, "temperature": 2, "top_k": 0, "stream": stream});
        post("/v1/completions", "", completion("The", extra).as_bytes())
    };
    let mut busy = BufReader::new(server.connect());
    busy.get_mut().write_all(&request(4000, true)).unwrap();
    assert!(busy.read_line(&mut String::new()).unwrap() > 0);
    let (done, order) = mpsc::channel();
    thread::scope(|scope| {
        for (n_before, from) in ["127.0.0.1"; 6].into_iter().chain(["127.0.0.2"]).enumerate() {
            let (mut stream, done) = (connect_from(&server, from), done.clone());
            stream.write_all(&request(3, false)).unwrap();
            while metric(&server, "trice_requests_waiting") < (n_before + 1) as f64 {
                thread::yield_now();
            }
            scope.spawn(move || {
                stream.read_to_end(&mut Vec::new()).unwrap();
                done.send(from).unwrap();
            });
        }
        drop((busy, done));
        let order: Vec<&str> = order.iter().collect();
        assert_eq!((order.len(), order[1]), (7, "127.0.0.2"), "{order:?}");
    });
}

#[cfg(unix)]
#[test]
fn gpu_the_log_holds_counts_and_no_text() {
    let Some(server) = loaded(&[]) else { return };
    server.post("/v1/completions", completion("Canary-4711", json!({"max_tokens": 2})));
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("prompt_tokens") && !log.contains("Canary"), "{log}");
}

/// The value of a metric, as Prometheus reads it.
fn metric(server: &Server, line: &str) -> f64 {
    let text = server.get("/metrics").text();
    assert!(text.ends_with("# EOF\n") && !text.contains("Canary"), "{text}");
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in\n{text}"))
}

#[test]
fn gpu_metrics_count_what_clients_count() {
    for parallel in ["1", "2"] {
        let Some(server) = loaded(&["--parallel", parallel]) else { return };
        let (mut asked, mut written, mut cached) = (0, 0, 0);
        for length in [2, 5, 9] {
            let body = completion("Canary-4711 once upon a time", json!({"max_tokens": length}));
            let usage = server.post("/v1/completions", body).json()["usage"].clone();
            let count = |at: &str| usage.pointer(at).and_then(serde_json::Value::as_u64).unwrap();
            asked += count("/prompt_tokens");
            written += count("/completion_tokens");
            cached += count("/prompt_tokens_details/cached_tokens");
        }
        assert_eq!(server.post("/v1/completions", "{").status, 400);
        assert_eq!(server.post("/v1/embeddings", r#"{"input": "a"}"#).status, 200);
        assert!(cached > 0);
        for (line, wanted) in [
            ("trice_prompt_tokens_total", asked),
            ("trice_generated_tokens_total", written),
            ("trice_cached_tokens_total", cached),
            ("trice_requests_total{route=\"/v1/completions\",status=\"200\"}", 3),
            ("trice_requests_total{route=\"/v1/completions\",status=\"400\"}", 1),
            ("trice_queue_seconds_count", 4),
            ("trice_first_token_seconds_count", 3),
            ("trice_tokens_per_second_count", 3),
            ("trice_batch_size_count", 3),
            ("trice_batch_size_bucket{le=\"1.0\"}", 3),
            ("trice_requests_waiting", 0),
            ("trice_answers_running", 0),
        ] {
            assert_eq!(metric(&server, line), wanted as f64, "{line}");
        }
    }
}

#[test]
fn the_metrics_of_a_server_with_a_key_need_it() {
    let server = bare(&["--api-key", "secret"]);
    assert_refused("no key", &server.get("/metrics"), 401);
    let asked = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer secret\r\n\r\n";
    assert_eq!(server.send(asked.as_bytes()).status, 200);
}
