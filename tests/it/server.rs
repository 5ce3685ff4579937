//! The server: what it refuses, how it answers, and that a client that leaves is noticed.

mod answers;
mod operation;
mod refusals;
mod tasks;
mod tools;

use crate::program::{Reply, Server, has_gpu};
use serde_json::{Value, json};

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

fn completion(prompt: &str, extra: Value) -> String {
    let mut body = json!({"model": "builtin:stories", "prompt": prompt, "temperature": 0, "max_tokens": 24});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn text_of(event: &str, pointer: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
}
