//! The server: what it refuses, how it answers, and that a client that leaves is noticed.

use crate::common::toy::{DIM, Toy};
use crate::gpu_tasks::tiny_model;
use crate::program::{HANG, Reply, Server, folder_with, has_gpu, json as run_json, last_error, post, run};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::mpsc;
use std::thread;
use trice::format::DType;

const CHAT: &str = "/v1/chat/completions";

/// A server whose default models need not load: enough for all that is refused before a model is asked.
fn bare(args: &[&str]) -> Server {
    Server::start(&[args, &["--device", "no such device"]].concat())
}

/// A server with the built-in models; none without a GPU.
fn loaded(args: &[&str]) -> Option<Server> {
    has_gpu().then(|| Server::start(args).ready())
}

/// Every refusal of the API has OpenAI's shape.
fn assert_refused(name: &str, reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{name}: {reply:?}");
    let error = &reply.json()["error"];
    for field in ["message", "type", "code"] {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{name}: {error}");
    }
    assert!(error["message"].as_str().unwrap().len() < 1000, "{name}: the message echoes the request");
    assert!(error.as_object().unwrap().contains_key("param"), "{name}: {error}");
    assert!(reply.header("access-control-allow-origin").is_none(), "{name}: a CORS header");
}

#[test]
fn bad_bodies_are_refused() {
    let server = bare(&[]);
    let nested = |depth: usize| format!(r#"{{"messages":[{}{}]}}"#, "[".repeat(depth), "]".repeat(depth));
    let long = |n: usize| format!(r#"{{"messages":["{}"]}}"#, "a".repeat(n));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty body", b"".to_vec()),
        ("no JSON", b"{".to_vec()),
        ("an array", b"[]".to_vec()),
        ("no messages", b"{}".to_vec()),
        ("a duplicate key", br#"{"messages":[],"max_tokens":1,"max_tokens":2}"#.to_vec()),
        ("depth 127", nested(125).into_bytes()),
        ("depth 100,000", nested(100_000).into_bytes()),
        ("no UTF-8", b"{\"messages\":[\"\xff\"]}".to_vec()),
        ("a lone surrogate", br#"{"messages":["\ud800"]}"#.to_vec()),
        ("a NUL as a message", br#"{"messages":["\u0000"]}"#.to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"messages\":[]}".to_vec()),
        ("1.9 MB", long(1_900_000).into_bytes()),
        ("3 MB", long(3_000_000).into_bytes()),
    ];
    for (name, body) in cases {
        assert_refused(name, &server.post(CHAT, body), 400);
    }
}

#[test]
fn fields_out_of_range_are_refused_by_name() {
    let server = bare(&[]);
    let cases = [
        ("messages", r#""messages":"x""#),
        ("messages", r#""messages":[]"#),
        ("max_tokens", r#""max_tokens":-1"#),
        ("max_tokens", r#""max_tokens":0"#),
        ("max_tokens", r#""max_tokens":4294967296"#),
        ("max_tokens", r#""max_tokens":1e3"#),
        ("temperature", r#""temperature":1e39"#),
        ("temperature", r#""temperature":-1"#),
        ("temperature", r#""temperature":2.1"#),
        ("top_p", r#""top_p":0"#),
        ("n", r#""n":2"#),
        ("stop", r#""stop":"""#),
        ("logit_bias", r#""logit_bias":{"5":100}"#),
        ("seed", r#""seed":18446744073709551616"#),
        ("tools", r#""tools":[{"type":"function"}]"#),
        ("response_format", r#""response_format":{"type":"xml"}"#),
        ("response_format", r#""response_format":{"type":"json_schema","json_schema":{"name":"n"}}"#),
        ("overflow", r#""overflow":"wrap""#),
    ];
    for (param, field) in cases {
        let messages = r#""messages":[{"role":"user","content":"hi"}],"#;
        let body = format!("{{{}{field}}}", if param == "messages" { "" } else { messages });
        let reply = server.post(CHAT, &body);
        assert_refused(field, &reply, 400);
        assert_eq!(reply.json()["error"]["param"], param, "{field}");
    }
    for number in ["NaN", "1e999"] {
        assert_refused(number, &server.post(CHAT, format!(r#"{{"messages":[],"temperature":{number}}}"#)), 400);
    }
    let many = vec![r#"{"role":"user","content":"x"}"#; 4097].join(",");
    assert_refused("4,097 messages", &server.post(CHAT, format!(r#"{{"messages":[{many}]}}"#)), 400);
}

#[test]
fn nothing_in_a_message_is_fetched() {
    let server = bare(&[]);
    for url in ["file:///etc/passwd", "http://169.254.169.254/"] {
        let part = json!([{"type": "image_url", "image_url": {"url": url}}]);
        let body = json!({"messages": [{"role": "user", "content": part}]});
        assert_refused(url, &server.post(CHAT, body.to_string()), 400);
    }
}

#[test]
fn bad_requests_are_refused() {
    let server = bare(&[]);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let get = |path: &str| server.get(path);
    assert_refused("GET on a POST", &get(CHAT), 405);
    assert_refused("no such route", &get("/v1/nope"), 404);
    assert_refused("no such page", &get("/nope"), 404);
    assert_refused("a wrong type", &server.send(&as_text(post(CHAT, "", b"{}"))), 415);
    assert_refused("path traversal", &get("/../../etc/passwd"), 404);
    assert_refused("encoded path traversal", &get("/%2e%2e/%2e%2e/etc/passwd"), 404);
    let over = format!("{head}Connection: close\r\nContent-Length: 5000000\r\n\r\n");
    assert_refused("5 MB", &server.send(over.as_bytes()), 413);
    // What is no HTTP at all is refused below the routes, without a body.
    let status = |bytes: &[u8]| server.send(bytes).status;
    assert_eq!(status(format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd").as_bytes()), 400);
    assert_eq!(status(format!("{head}Content-Length: abc\r\n\r\n").as_bytes()), 400);
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\xff\r\n\r\n"), 400);
    let smuggled =
        format!("{head}Connection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(status(smuggled.as_bytes()), 400);
    let lines: String = (0..200).map(|i| format!("X{i}: a\r\n")).collect();
    assert_eq!(status(format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").as_bytes()), 431);
    let long = "a".repeat(1_000_000);
    // The server closes before it has read all of it, so its answer may be lost; it must not be a 200.
    assert!(
        [0, 431].contains(&status(format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n").as_bytes()))
    );
}

/// The same request, said to be plain text.
fn as_text(request: Vec<u8>) -> Vec<u8> {
    String::from_utf8(request).unwrap().replace("application/json", "text/plain").into_bytes()
}

#[test]
fn only_our_own_names_and_page_are_answered() {
    let server = bare(&["--allow-host", "box.lan"]);
    let ask =
        |headers: &str| server.send(format!("GET /nope HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").as_bytes());
    for host in ["localhost", "127.0.0.1:1234", "[::1]", "box.lan"] {
        assert_refused(host, &ask(&format!("Host: {host}\r\n")), 404);
    }
    assert_refused("another host", &ask("Host: evil.example\r\n"), 403);
    assert_refused("no host", &ask(""), 403);
    assert_refused("another origin", &ask("Host: localhost\r\nOrigin: https://evil.example\r\n"), 403);
    assert_refused("our own origin", &ask("Host: localhost\r\nOrigin: http://localhost\r\n"), 404);
    let preflight = "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
        Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n";
    assert_refused("a preflight", &server.send(preflight.as_bytes()), 403);
}

#[test]
fn a_key_is_needed_when_there_is_one() {
    let server = bare(&["--api-key", "secret"]);
    let long = format!("Authorization: Bearer {}\r\n", "a".repeat(8000));
    for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: Bearer \r\n", &long] {
        assert_refused(headers, &server.post_with(CHAT, headers, "{}"), 401);
    }
    assert_refused("the key", &server.post_with(CHAT, "Authorization: Bearer secret\r\n", "{}"), 400);
}

#[test]
fn half_a_request_is_closed() {
    let server = bare(&[]);
    let halves = [
        "GET /health HTTP/1.1\r\nHost: localhost\r\n",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ];
    thread::scope(|scope| {
        for half in halves {
            let mut stream = server.connect();
            scope.spawn(move || {
                stream.write_all(half.as_bytes()).unwrap();
                let mut rest = Vec::new();
                // A hang ends with the read's own time limit, as an error.
                stream.read_to_end(&mut rest).unwrap();
                assert!(!rest.starts_with(b"HTTP/1.1 200"));
            });
        }
    });
}

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

fn completion(prompt: &str, extra: Value) -> String {
    let mut body = json!({"model": "builtin:stories", "prompt": prompt, "temperature": 0, "max_tokens": 24});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

#[test]
fn gpu_completions_equal_the_command_line() {
    for guesses in [&[][..], &["--speculate", "lookup"], &["builtin:stories", "--draft", "builtin:stories"]] {
        if let Some(server) = loaded(guesses) {
            check_completions(&server);
        }
    }
}

fn check_completions(server: &Server) {
    let prompt = "Once upon a time";
    let args = ["chat", "builtin:stories", "--raw", "--temp", "0", "-n", "24", "--json", "-p", prompt];
    let wanted = run_json(&args);
    let whole = server.post("/v1/completions", completion(prompt, json!({}))).json();
    assert_eq!(whole["choices"][0]["text"], wanted["text"]);
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 24);
    assert_eq!(whole["usage"]["prompt_tokens"], wanted["prompt_tokens"].as_array().unwrap().len());
    let ids = server.post("/v1/completions", completion("", json!({"prompt": wanted["prompt_tokens"]}))).json();
    assert_eq!(ids["choices"][0]["text"], wanted["text"]);

    let streamed = server.post("/v1/completions", completion(prompt, json!({"stream": true})));
    assert!(streamed.header("content-type").unwrap().starts_with("text/event-stream"));
    let events = streamed.events();
    assert_eq!(events.last().unwrap(), "[DONE]");
    let text: String = events[..events.len() - 1].iter().map(|event| text_of(event, "/choices/0/text")).collect();
    assert_eq!(text, wanted["text"].as_str().unwrap());
}

fn text_of(event: &str, pointer: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
}

#[test]
fn gpu_chat_streams_in_openais_shape() {
    let Some(server) = loaded(&[]) else { return };
    let mut body =
        json!({"messages": [{"role": "user", "content": "Tell a story"}], "temperature": 0, "max_tokens": 12});
    let whole = server.post(CHAT, body.to_string()).json();
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["role"], "assistant");

    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(2);
    let events = server.post(CHAT, body.to_string()).events();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"]));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert!(before.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    let text: String = chunks.iter().map(|chunk| text_of(&chunk.to_string(), "/choices/0/delta/content")).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().unwrap());
    let steps = before.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array()).flatten();
    let steps: Vec<&Value> = steps.collect();
    assert_eq!(steps.len(), usage["usage"]["completion_tokens"].as_u64().unwrap() as usize);
    assert!(
        steps.iter().all(|step| step["top_logprobs"].as_array().unwrap().len() == 2 && step["logprob"].is_number())
    );
}

#[test]
fn gpu_models_are_found_by_name_and_kind() {
    let Some(server) = loaded(&["--ctx", "32"]) else { return };
    assert_eq!(server.get("/health").status, 200);
    let models = server.get("/v1/models").json();
    assert_eq!(models["data"].as_array().unwrap().len(), 3);
    for name in ["gpt-7", "../../etc/passwd", ""] {
        assert_refused(name, &server.post("/v1/completions", completion("x", json!({"model": name}))), 404);
    }
    let wrong = server.post("/v1/completions", completion("x", json!({"model": "builtin:sentiment"})));
    assert_refused("an encoder that should write", &wrong, 400);
    let long = server.post("/v1/completions", completion(&"once upon a time ".repeat(40), json!({})));
    assert_refused("a long prompt", &long, 400);
    assert_eq!(long.json()["error"]["code"], "context_length_exceeded");
    let ids = server.post("/v1/completions", completion("", json!({"prompt": [4_000_000_000_u32]})));
    assert_refused("an id beyond the vocabulary", &ids, 400);
}

#[test]
fn gpu_a_long_prompt_is_cut_where_the_server_or_the_request_says() {
    for parallel in ["1", "2"] {
        let Some(server) = loaded(&["--ctx", "32", "--overflow", "truncate-middle", "--parallel", parallel]) else {
            return;
        };
        let long = |extra| server.post("/v1/completions", completion(&"once upon a time ".repeat(40), extra));
        let cut = long(json!({"max_tokens": 4})).json();
        let usage = &cut["usage"];
        assert_eq!(usage["completion_tokens"], 4);
        assert_eq!(usage["dropped_tokens"].as_u64().unwrap(), usage["prompt_tokens"].as_u64().unwrap() - 28);
        let stream = json!({"max_tokens": 4, "stream": true, "stream_options": {"include_usage": true}});
        let events = long(stream).events();
        let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
        assert_eq!(&last["usage"], usage);
        let refused = long(json!({"overflow": "error"}));
        assert_refused("a long prompt", &refused, 400);
        assert_eq!(refused.json()["error"]["code"], "context_length_exceeded");
        let shifted = long(json!({"overflow": "shift"})).json();
        assert!(shifted["usage"]["dropped_tokens"].as_u64().unwrap() % 12 == 0, "{shifted}");
        let short = server.post("/v1/completions", completion("Once", json!({"max_tokens": 2}))).json();
        assert!(short["usage"]["dropped_tokens"].is_null(), "{short}");
    }
}

#[test]
fn gpu_embeddings_and_labels() {
    let Some(server) = loaded(&[]) else { return };
    let texts = json!(["I loved it", "I hated it"]);
    let floats = server.post("/v1/embeddings", json!({"input": texts}).to_string()).json();
    let vectors: Vec<Vec<f64>> = (0..2)
        .map(|i| floats["data"][i]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect())
        .collect();
    for vector in &vectors {
        assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-4);
    }
    let encoded =
        server.post("/v1/embeddings", json!({"input": texts, "encoding_format": "base64"}).to_string()).json();
    // Four bytes per number, four characters per three bytes.
    let length = encoded["data"][1]["embedding"].as_str().unwrap().len();
    assert_eq!(length, (vectors[1].len() * 4).div_ceil(3) * 4);
    assert!(floats["usage"]["prompt_tokens"].as_u64().unwrap() > 4);
    assert_eq!(floats["model"], "builtin:embed");

    let labels = server.post("/v1/classify", json!({"input": texts, "top": 1}).to_string()).json();
    assert_eq!(labels["data"].as_array().unwrap().len(), 2);
    assert_eq!(labels["data"][0]["labels"].as_array().unwrap().len(), 1);
    let best = |i: usize| labels["data"][i]["labels"][0]["label"].as_str().unwrap().to_lowercase();
    assert_eq!((best(0), best(1)), ("positive".to_string(), "negative".to_string()));
    assert_eq!(labels["model"], "builtin:sentiment");
    let own = json!({"input": "The striker scored twice", "labels": ["football", "cooking"]});
    let own = server.post("/v1/classify", own.to_string()).json();
    assert_eq!((&own["model"], &own["data"][0]["labels"][0]["label"]), (&json!("builtin:embed"), &json!("football")));
    assert_refused("an empty text", &server.post("/v1/classify", r#"{"input":["  "]}"#), 400);
}

#[test]
fn gpu_labels_are_explained() {
    let Some(server) = loaded(&[]) else { return };
    let ask = |explain: Value| json!({"input": "😀 I loved it", "explain": explain}).to_string();
    let reply = server.post("/v1/classify", ask(json!(true))).json();
    let explanation = &reply["data"][0]["explanation"];
    assert_eq!(explanation["label"], reply["data"][0]["labels"][0]["label"]);
    let words: Vec<&str> =
        explanation["words"].as_array().unwrap().iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(words, ["😀", "I", "loved", "it"]);
    // Places count characters.
    assert_eq!((&explanation["words"][2]["start"], &explanation["words"][2]["end"]), (&json!(4), &json!(9)));
    let negative = server.post("/v1/classify", ask(json!("NEGATIVE"))).json();
    assert_eq!(negative["data"][0]["explanation"]["label"], "NEGATIVE");
    assert_refused("no such label", &server.post("/v1/classify", ask(json!("MAYBE"))), 400);
    assert_refused("a number", &server.post("/v1/classify", ask(json!(1))), 400);
}

#[test]
fn gpu_entities_answers_and_hidden_words() {
    if !has_gpu() {
        return;
    }
    let folders = ["tag", "answer", "fill"].map(tiny_model);
    let [tagger, answerer, filler] = folders.each_ref().map(|folder| folder.path().to_str().unwrap());
    let Some(server) = loaded(&[tagger, answerer, filler]) else { return };
    let text = "Ada Lovelace was born in London";
    let piece = |place: &Value| {
        let end = |key: &str| place[key].as_u64().unwrap() as usize;
        text.chars().skip(end("start")).take(end("end") - end("start")).collect::<String>()
    };

    let tagged = server
        .post("/v1/tag", json!({"model": tagger, "input": [text, text], "aggregation": "none"}).to_string())
        .json();
    assert_eq!(tagged["data"][1]["index"], 1, "{tagged}");
    let entities = tagged["data"][0]["entities"].as_array().unwrap();
    assert!(!entities.is_empty() && entities.iter().all(|entity| !piece(entity).is_empty()), "{tagged}");
    assert_eq!(&tagged["data"][0]["entities"], &tagged["data"][1]["entities"]);
    let wrong = json!({"model": tagger, "input": text, "aggregation": "most"});
    assert_refused("aggregation", &server.post("/v1/tag", wrong.to_string()), 400);

    let asked = json!({"model": answerer, "question": "Where?", "context": text, "top": 3});
    let answered = server.post("/v1/answer", asked.to_string()).json();
    let answers = answered["answers"].as_array().unwrap();
    assert!(!answers.is_empty() && answers.len() <= 3, "{answered}");
    answers.iter().for_each(|answer| assert_eq!(answer["answer"].as_str().unwrap(), piece(answer), "{answered}"));
    assert_refused("no question", &server.post("/v1/answer", json!({"context": text}).to_string()), 400);

    let hidden = json!({"model": filler, "input": "Ada was [MASK] in London", "top": 2});
    let filled = server.post("/v1/fill", hidden.to_string()).json();
    let masks = filled["data"][0]["masks"].as_array().unwrap();
    assert_eq!((masks.len(), masks[0].as_array().unwrap().len()), (1, 2), "{filled}");
    let nothing = json!({"model": filler, "input": text});
    assert_refused("nothing hidden", &server.post("/v1/fill", nothing.to_string()), 400);
    assert_refused("no such head", &server.post("/v1/fill", json!({"model": tagger, "input": text}).to_string()), 400);
}

#[test]
fn gpu_documents_are_ranked() {
    let Some(server) = loaded(&[]) else { return };
    let documents = ["I hated every minute", "I loved every minute", "it rains"];
    let asked = json!({"query": "I loved it", "documents": documents, "top_n": 2, "return_documents": true});
    let ranked = server.post("/v1/rerank", asked.to_string()).json();
    let results = ranked["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{ranked}");
    assert_eq!((&results[0]["index"], &results[0]["document"]["text"]), (&json!(1), &json!(documents[1])), "{ranked}");
    let score = |i: usize| results[i]["relevance_score"].as_f64().unwrap();
    assert!(score(0) >= score(1) && ranked["usage"]["total_tokens"].as_u64().unwrap() > 10, "{ranked}");
    for (name, body) in [
        ("no query", json!({"documents": ["a"]})),
        ("no documents", json!({"query": "a"})),
        ("an empty document", json!({"query": "a", "documents": [" "]})),
        ("top_n of 0", json!({"query": "a", "documents": ["a"], "top_n": 0})),
    ] {
        assert_refused(name, &server.post("/v1/rerank", body.to_string()), 400);
    }
    assert_refused("long", &server.post("/v1/classify", r#"{"input":"a","long":"fold"}"#), 400);
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
fn gpu_answers_at_once_equal_answers_alone() {
    for parallel in ["1", "3"] {
        if let Some(server) = loaded(&["--parallel", parallel]) {
            check_at_once(&server);
        }
    }
}

fn check_at_once(server: &Server) {
    let prompts: Vec<String> =
        ["a dog", "a cat", "Tom", "the sun", "a ball", "Lily"].map(|who| format!("Once {who}")).to_vec();
    let ask = |prompt: &String| {
        let reply = server.post("/v1/completions", completion(prompt, json!({"max_tokens": 8}))).json();
        reply["choices"][0]["text"].as_str().unwrap().to_string()
    };
    let alone: Vec<String> = prompts.iter().map(ask).collect();
    let together: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = prompts.iter().map(|prompt| scope.spawn(|| ask(prompt))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

/// Reads `n` events of a stream: their texts together.
fn read_events(stream: &mut impl std::io::BufRead, n: usize) -> String {
    let (mut text, mut n_events) = (String::new(), 0);
    while n_events < n {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended early");
        if let Some(event) = line.trim_end().strip_prefix("data: ") {
            text.push_str(&text_of(event, "/choices/0/text"));
            n_events += 1;
        }
    }
    text
}

/// One that does not end, another that begins and ends meanwhile; vectors, and an answer that must wait to be alone.
#[test]
fn gpu_streams_interleave_and_say_what_they_say_alone() {
    let models = ["random:15m", "builtin:sentiment", "--parallel", "2"];
    let Some(mut server) = loaded(&models) else { return };
    let ask = |prompt: &str, extra: Value| {
        let mut body = json!({"model": "random:15m", "stream": true});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        post("/v1/completions", "", completion(prompt, body).as_bytes())
    };
    let text = |reply: &Reply| -> String {
        let events = reply.events();
        assert_eq!(events.last().unwrap(), "[DONE]");
        events[..events.len() - 1].iter().map(|event| text_of(event, "/choices/0/text")).collect()
    };
    let warm = json!({"max_tokens": 12, "temperature": 1, "seed": 5});
    let short_alone = text(&server.send(&ask("B", warm.clone())));
    let long_alone = text(&server.send(&ask("A", json!({"max_tokens": 30}))));
    for _ in 0..2 {
        server.wait_for_log("generated");
    }
    let mut endless = BufReader::new(server.connect());
    endless.get_mut().write_all(&ask("A", json!({"max_tokens": 4000}))).unwrap();
    let mut long = read_events(&mut endless, 3);
    assert_eq!(text(&server.send(&ask("B", warm))), short_alone);
    assert!(server.wait_for_log("generated").contains("tokens=12 "), "the short one ends first");
    let embedded = server.post("/v1/embeddings", r#"{"input": "I loved it"}"#);
    assert_eq!(embedded.status, 200);
    // Log-probabilities come from a model that does nothing else.
    let mut exact = BufReader::new(server.connect());
    exact.get_mut().write_all(&ask("C", json!({"max_tokens": 2, "logprobs": 1}))).unwrap();
    long.push_str(&read_events(&mut endless, 27));
    assert!(long_alone.starts_with(&long) || long.starts_with(&long_alone), "{long:?} is not {long_alone:?}");
    drop(endless);
    assert!(server.wait_for_log("generated").contains("Cancelled"));
    read_events(&mut exact, 3);
    assert!(server.wait_for_log("generated").contains("tokens=2 "));
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
