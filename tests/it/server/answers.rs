//! Completions and chats: whole and streamed, alone and beside others.

use super::{CHAT, assert_refused, completion, loaded, text_of};
use crate::program::{Reply, Server, json as run_json, post};
use serde_json::{Value, json};
use std::io::{BufReader, Write as _};
use std::thread;

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
fn gpu_a_cut_answer_goes_on() {
    let Some(server) = loaded(&["builtin:stories"]) else { return };
    let question = json!({"role": "user", "content": "Tell me about a dog."});
    let ask = |messages: Value, n: usize, goes_on: bool| {
        let body = json!({"messages": messages, "max_tokens": n, "temperature": 0, "continue_final_message": goes_on});
        let reply = server.post(CHAT, body.to_string());
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let whole = ask(json!([question]), 12, false);
    let begun = ask(json!([question]), 6, false);
    let rest = ask(json!([question, {"role": "assistant", "content": begun}]), 6, true);
    assert_eq!(begun + &rest, whole);
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
        for count in ["prompt_tokens", "completion_tokens", "dropped_tokens"] {
            assert_eq!(last["usage"][count], usage[count], "{count}");
        }
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
