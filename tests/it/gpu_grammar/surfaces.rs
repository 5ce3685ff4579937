//! Grammars by the command line and by HTTP.

use crate::program::{Server, folder_with, has_gpu, json as run_json, last_error, run};
use serde_json::{Value, json};

/// Two colors and a number, which the story model would never write.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "color": {"enum": ["red", "blue"]},
            "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 20}, "minItems": 1, "maxItems": 3},
        },
        "required": ["color", "sizes"],
        "additionalProperties": false,
    })
}

fn check(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(jsonschema::is_valid(&schema(), &value), "{text}");
}

#[test]
fn chat_answers_by_schema_and_by_grammar() {
    if !has_gpu() {
        return;
    }
    let files = folder_with(&[
        ("schema.json", schema().to_string().as_bytes()),
        ("broken.json", b"{"),
        ("odd.json", br#"{"type": "thing"}"#),
        ("list.lark", b"start: /[a-z]{3}/ (\", \" /[a-z]{3}/){2}"),
    ]);
    let path = |name: &str| files.path().join(name).display().to_string();
    let ask = |flag: &str, file: &str| run_json(&["chat", "-p", "Once", "--json", flag, &path(file)]);
    let answer = ask("--schema", "schema.json");
    check(answer["text"].as_str().unwrap());
    assert_eq!(answer["finish_reason"], "stop");
    let words = ask("--grammar", "list.lark");
    let words: Vec<&str> = words["text"].as_str().unwrap().split(", ").collect();
    assert!(words.len() == 3 && words.iter().all(|word| word.len() == 3), "{words:?}");
    for (file, wanted) in [("broken.json", "broken.json"), ("odd.json", "thing"), ("none.json", "none.json")] {
        let output = run(&["chat", "-p", "Once", "--schema", &path(file)]);
        assert!(!output.status.success() && last_error(&output).contains(wanted), "{}", last_error(&output));
    }
    let both = run(&["chat", "-p", "a", "--schema", &path("schema.json"), "--stop", "x"]);
    assert_eq!(both.status.code(), Some(2));
}

/// Whole, streamed, and while others are answered.
#[test]
fn responses_have_their_format() {
    for parallel in ["1", "3"] {
        if !has_gpu() {
            return;
        }
        let server = Server::start(&["builtin:stories", "--parallel", parallel]).ready();
        let format =
            json!({"type": "json_schema", "json_schema": {"name": "look", "schema": schema(), "strict": true}});
        let mut body = json!({"messages": [{"role": "user", "content": "A dress?"}], "response_format": format});
        let whole = server.post("/v1/chat/completions", body.to_string()).json();
        check(whole["choices"][0]["message"]["content"].as_str().unwrap());
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");

        body["stream"] = json!(true);
        let events = server.post("/v1/chat/completions", body.to_string()).events();
        let chunks = events[..events.len() - 1].iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
        let text: String = chunks
            .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned())
            .collect();
        check(&text);

        let text = json!({"prompt": "Once", "response_format": {"type": "json_object"}, "max_tokens": 3});
        let cut = server.post("/v1/completions", text.to_string()).json();
        assert!(cut["choices"][0]["text"].as_str().unwrap().starts_with('{'), "{cut}");
        assert_eq!(cut["choices"][0]["finish_reason"], "length");

        body["response_format"]["json_schema"]["schema"] = json!({"type": "thing"});
        let refused = server.post("/v1/chat/completions", body.to_string());
        let error = refused.json()["error"].clone();
        assert_eq!((refused.status, &error["param"]), (400, &json!("response_format")));
        assert!(error["message"].as_str().unwrap().contains("thing"), "{error}");
    }
}
