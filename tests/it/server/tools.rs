//! Functions that a model may call, over HTTP: offered, called, answered; and what a model thinks before.

use super::{CHAT, assert_refused, loaded};
use crate::common::toy::Toy;
use crate::program::{Server, folder_with};
use serde_json::{Value, json};

/// Says its messages, its tools and the results of calls.
const TEMPLATE: &str = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}\
    {{ c.function.arguments.of }}{% endfor %}{{ m.tool_call_id }}{% endfor %}{% for t in tools or [] %}{{ t.function.name }}{% endfor %}";

fn now() -> Value {
    json!({"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {"of": {"enum": ["a", "b"]}}, "required": ["of"], "additionalProperties": false}}})
}

/// A server whose model says this, and the folder of its file.
fn parrot(script: &[(&str, i32)], template: &str) -> Option<(Server, tempfile::TempDir)> {
    let toy = Toy::parrot(script).text("tokenizer.chat_template", template);
    let folder = folder_with(&[("toy.gguf", &toy.gguf())]);
    let server = loaded(&[&folder.path().join("toy.gguf").display().to_string()])?;
    Some((server, folder))
}

fn request(extra: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}], "temperature": 0});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The choice of a whole answer; and of a streamed one, put together, which must be the same but for the calls' ids.
fn ask(server: &Server, mut body: Value) -> Value {
    let whole = server.post(CHAT, body.to_string());
    assert_eq!(whole.status, 200, "{whole:?}");
    let whole = whole.json()["choices"][0].clone();
    body["stream"] = json!(true);
    let events = server.post(CHAT, body.to_string()).events();
    let chunks = events[..events.len() - 1].iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let choices: Vec<Value> = chunks.map(|chunk| chunk["choices"][0].clone()).collect();
    let text = |key: &str| choices.iter().filter_map(|choice| choice["delta"][key].as_str()).collect::<String>();
    let message = &whole["message"];
    assert_eq!(text("content"), message["content"].as_str().unwrap_or_default(), "{choices:?}");
    assert_eq!(text("reasoning_content"), message["reasoning_content"].as_str().unwrap_or_default(), "{choices:?}");
    let calls = choices.iter().filter_map(|choice| choice["delta"]["tool_calls"].as_array()).flatten();
    let streamed: Vec<(&Value, &Value)> = calls.map(|call| (&call["index"], &call["function"])).collect();
    let wanted = message["tool_calls"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(streamed.len(), wanted.len(), "{choices:?}");
    for (i, ((index, function), call)) in streamed.iter().zip(wanted).enumerate() {
        assert_eq!((*index, *function), (&json!(i), &call["function"]));
    }
    assert_eq!(choices.last().unwrap()["finish_reason"], whole["finish_reason"]);
    whole
}

#[test]
fn gpu_a_mistral_calls_with_a_special_token() {
    let script =
        [("Let me see.\n", 4), ("[TOOL_CALLS]", 3), ("[{\"name\":\"now\",", 4), ("\"arguments\":{\"of\":\"a\"}}]", 4)];
    let Some((server, _folder)) = parrot(&script, TEMPLATE) else { return };
    let called = ask(&server, request(json!({"tools": [now()]})));
    assert_eq!(
        (&called["finish_reason"], &called["message"]["content"]),
        (&json!("tool_calls"), &json!("Let me see."))
    );
    let call = &called["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "now", "arguments": "{\"of\":\"a\"}"}));
    assert_eq!(call["id"].as_str().unwrap().len(), 9);
    // A model that is offered nothing calls nothing, whatever it writes.
    for none in [json!({}), json!({"tools": [now()], "tool_choice": "none"})] {
        let said = ask(&server, request(none));
        assert_eq!(said["finish_reason"], "stop");
        assert!(said["message"]["content"].as_str().unwrap().ends_with("\"arguments\":{\"of\":\"a\"}}]"), "{said}");
        assert!(said["message"]["tool_calls"].is_null());
    }
    let cut = ask(&server, request(json!({"tools": [now()], "max_tokens": 3})));
    assert_eq!(cut["finish_reason"], "length");
    assert_eq!(cut["message"]["content"], "Let me see.\n[TOOL_CALLS][{\"name\":\"now\",");
}

#[test]
fn gpu_a_qwen_thinks_before_it_calls() {
    let calls = [
        ("<tool_call>", 4),
        ("\n{\"name\":\"now\",\"arguments\":{}}\n", 4),
        ("</tool_call>", 4),
        ("\n<tool_call>\n", 4),
        ("{\"name\":\"then\",\"arguments\":{\"a\":[1,2]}}</tool_call>", 4),
    ];
    let thought = [("Hm", 4), (" well.", 4), ("\n</think>\n\n", 4)];
    let own = [&[("<think>", 3), ("\n", 4)][..], &thought, &calls].concat();
    let opened = [&thought[..], &calls].concat();
    for (script, template) in [(own, TEMPLATE.to_owned()), (opened, format!("{TEMPLATE}<think>\n"))] {
        let Some((server, _folder)) = parrot(&script, &template) else { return };
        let called = ask(&server, request(json!({"tools": [now()]})));
        let message = &called["message"];
        assert_eq!((&message["reasoning_content"], &message["content"]), (&json!("Hm well."), &Value::Null));
        let names: Vec<&Value> =
            message["tool_calls"].as_array().unwrap().iter().map(|call| &call["function"]["name"]).collect();
        assert_eq!((names, &called["finish_reason"]), (vec![&json!("now"), &json!("then")], &json!("tool_calls")));
        let one = ask(&server, request(json!({"tools": [now()], "parallel_tool_calls": false})));
        assert_eq!(one["message"]["tool_calls"].as_array().unwrap().len(), 1);
        // Where the answer has a form, it is all of it.
        let forced = ask(&server, request(json!({"tools": [now()], "tool_choice": "required"})));
        assert_eq!(
            (&forced["finish_reason"], &forced["message"]["reasoning_content"]),
            (&json!("tool_calls"), &Value::Null)
        );
    }
}

#[test]
fn gpu_tools_calls_and_results_reach_the_template() {
    let Some((server, _folder)) = parrot(&[("Noon.", 4)], TEMPLATE) else { return };
    let n_tokens = |body: Value| {
        let reply = server.post(CHAT, body.to_string());
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let plain = n_tokens(request(json!({})));
    assert_eq!(n_tokens(request(json!({"tools": [now()]}))), plain + 3);
    assert_eq!(n_tokens(request(json!({"tools": [now()], "tool_choice": "none"}))), plain);
    let call =
        json!({"id": "abcdefghi", "type": "function", "function": {"name": "now", "arguments": "{\"of\": \"a\"}"}});
    let turns = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "noon"},
    ]);
    // The call's name and argument, the result and the call's id.
    assert_eq!(n_tokens(request(json!({"messages": turns}))), plain + 3 + 1 + 4 + 9);
    let said = ask(&server, request(json!({"messages": turns, "tools": [now()]})));
    assert_eq!((&said["message"]["content"], &said["finish_reason"]), (&json!("Noon."), &json!("stop")));
}

/// A model that has never heard of tools.
#[test]
fn gpu_a_call_that_is_required_comes_from_any_model() {
    for parallel in ["1", "2"] {
        let Some(server) = loaded(&["builtin:stories", "--parallel", parallel]) else { return };
        for choice in [json!("required"), json!({"type": "function", "function": {"name": "now"}})] {
            let called = ask(&server, request(json!({"tools": [now()], "tool_choice": choice})));
            assert_eq!((&called["finish_reason"], &called["message"]["content"]), (&json!("tool_calls"), &Value::Null));
            let function = &called["message"]["tool_calls"][0]["function"];
            let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
            assert_eq!((&function["name"], arguments["of"].as_str().unwrap().len()), (&json!("now"), 1));
        }
        let body = |extra: Value| request(extra).to_string();
        let auto = server.post(CHAT, body(json!({"tools": [now()]})));
        assert_refused("tools of a template without", &auto, 400);
        assert_eq!(auto.json()["error"]["param"], "tools");
        let stopped = server.post(CHAT, body(json!({"tools": [now()], "tool_choice": "required", "stop": "x"})));
        assert_refused("a stop text beside a call", &stopped, 400);
        let odd = json!({"type": "function", "function": {"name": "odd", "parameters": {"type": "thing"}}});
        let odd = server.post(CHAT, body(json!({"tools": [odd], "tool_choice": "required"})));
        assert_refused("a schema that is none", &odd, 400);
        assert_eq!(odd.json()["error"]["param"], "tools");
    }
}
