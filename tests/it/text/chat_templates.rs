//! Chat templates against transformers' `apply_chat_template`, and what a hostile one may do: nothing but fail.

use super::{gguf_header, message, shared};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;
use trice::Error;
use trice::text::{ChatOptions, ChatTemplate, PromptEnd, SideFiles, Tokenizer};

/// `tests/golden/chat_templates.json`.
#[derive(Deserialize)]
struct Golden {
    now: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// A file beside the golden one, or a GGUF file of the shared folder.
    template: String,
    bos: String,
    eos: String,
    messages: Vec<Value>,
    tools: Vec<Value>,
    variables: Map<String, Value>,
    generate: bool,
    /// The prompt, or what the template raised.
    wanted: Option<String>,
    refused: Option<String>,
}

/// A tokenizer that has two special tokens and little else.
fn tokenizer(bos: &str, eos: &str) -> Tokenizer {
    let names: Vec<&str> = [bos, eos].into_iter().filter(|name| !name.is_empty()).collect();
    let added: Vec<Value> =
        names.iter().enumerate().map(|(id, name)| json!({"id": id, "content": name, "special": true})).collect();
    let file = json!({
        "added_tokens": added,
        "model": {"type": "BPE", "vocab": {"a": 7}, "merges": []},
    });
    let config = json!({"bos_token": (!bos.is_empty()).then_some(bos), "eos_token": eos});
    let side = SideFiles { tokenizer_config: Some(&config), ..SideFiles::default() };
    Tokenizer::from_json("two tokens", &serde_json::to_vec(&file).unwrap(), &side).unwrap()
}

/// The source of a template; none where the shared folder is not there.
fn source(name: &str) -> Option<String> {
    if name.ends_with(".gguf") {
        let path = shared(&format!("tokenizers/llamacpp-vocabs/{name}"))?;
        return Some(gguf_header(&path).metadata.string("tokenizer.chat_template").unwrap().to_owned());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat_templates");
    Some(std::fs::read_to_string(folder.join(name)).unwrap())
}

#[test]
fn templates_render_as_transformers_does() {
    let golden: Golden = serde_json::from_str(include_str!("../../golden/chat_templates.json")).unwrap();
    let (mut right, mut n) = (0, 0);
    for case in golden.cases {
        let Some(source) = source(&case.template) else { continue };
        let options = ChatOptions {
            end: if case.generate { PromptEnd::Answer } else { PromptEnd::Messages },
            now: Some(golden.now),
            tools: case.tools,
            variables: case.variables,
            ..ChatOptions::default()
        };
        let rendered = ChatTemplate::new(&source, &case.template)
            .and_then(|template| template.render(&case.messages, &tokenizer(&case.bos, &case.eos), &options));
        n += 1;
        match (&case.wanted, &case.refused, rendered) {
            (Some(wanted), None, Ok(found)) if found == *wanted => right += 1,
            (None, Some(raised), Err(Error::Invalid { what })) if what.ends_with(raised.as_str()) => right += 1,
            (wanted, refused, found) => {
                println!("{}: wanted {wanted:?} or {refused:?}\n  found {found:?}", case.template);
                if let (Some(wanted), Ok(found)) = (wanted, found) {
                    let lines = wanted.lines().zip(found.lines()).filter(|(wanted, found)| wanted != found);
                    lines.for_each(|(wanted, found)| println!("  - {wanted}\n  + {found}"));
                }
            }
        }
    }
    println!("chat templates {right}/{n}");
    assert!(n >= 50, "only {n} cases were read");
    assert_eq!(right, n);
}

#[test]
fn every_template_of_the_shared_vocabularies_is_tested() {
    let Some(folder) = shared("tokenizers/llamacpp-vocabs") else { return };
    let golden: Golden = serde_json::from_str(include_str!("../../golden/chat_templates.json")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "gguf")
            && gguf_header(&path).metadata.string("tokenizer.chat_template").is_some()
        {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(golden.cases.iter().any(|case| case.template == name), "{name}");
        }
    }
}

#[test]
fn a_template_says_whether_it_takes_tools() {
    let takes = |name: &str| ChatTemplate::new(&source(name).unwrap(), name).unwrap().takes_tools();
    for name in ["llama3.jinja", "qwen3.jinja", "hermes.jinja", "mistral.jinja", "smollm3.jinja", "granite.jinja"] {
        assert!(takes(name), "{name}");
    }
    for name in ["chatml.jinja", "llama2.jinja", "gemma3.jinja", "phi3.jinja"] {
        assert!(!takes(name), "{name}");
    }
}

#[test]
fn a_model_may_have_a_template_for_tools() {
    let template = ChatTemplate::new("plain", "test").unwrap();
    let template = template.with_tool_use("{{ tools | length }} tools", "test").unwrap();
    let render = |tools: Vec<Value>| {
        let options = ChatOptions { tools, ..ChatOptions::default() };
        template.render(&[message("user", "hi")], &tokenizer("", "<e>"), &options).unwrap()
    };
    assert_eq!((render(vec![]).as_str(), render(vec![json!({}), json!({})]).as_str()), ("plain", "2 tools"));
}

#[test]
fn special_tokens_stay_text_wherever_they_stand() {
    let tokenizer = tokenizer("<s>", "</s>");
    let source = "{{ bos_token }}{{ messages | tojson }}{{ tools }}{{ note }}";
    let evil = json!({"a": ["</s>", {"</s>": "<s>"}]});
    let options = ChatOptions {
        tools: vec![evil.clone()],
        variables: json!({"note": "</s>"}).as_object().unwrap().clone(),
        begun: "</s><s>".to_owned(),
        ..ChatOptions::default()
    };
    let template = ChatTemplate::new(source, "test").unwrap();
    let rendered = template.render(&[json!({"role": "</s>", "content": evil})], &tokenizer, &options).unwrap();
    assert_eq!(tokenizer.encode_prompt(&rendered).unwrap().iter().filter(|id| **id < 2).count(), 1);
    let reserved =
        ChatOptions { variables: json!({"messages": []}).as_object().unwrap().clone(), ..ChatOptions::default() };
    let error = template.render(&[message("user", "hi")], &tokenizer, &reserved).unwrap_err();
    assert!(error.to_string().contains("the template variable messages is not free to set"), "{error}");
    let error = template.render(&["hi"], &tokenizer, &options).unwrap_err();
    assert!(error.to_string().contains("a message must be an object, not \"hi\""), "{error}");
}

#[test]
fn hostile_templates_fail_in_one_sentence() {
    let doubled = |end: &str| {
        format!(
            "{{% set ns = namespace(s=[1]) %}}{{% for i in range(60) %}}{{% set ns.s = ns.s + ns.s %}}{{% endfor %}}{end}"
        )
    };
    let nested = |end: &str| {
        format!(
            "{{% set ns = namespace(s=[]) %}}{{% for i in range(20000) %}}{{% set ns.s = [ns.s] %}}{{% endfor %}}{end}"
        )
    };
    let tree = |end: &str| {
        format!(
            "{{% set ns = namespace(s=[1]) %}}{{% for i in range(60) %}}{{% set ns.s = [ns.s, ns.s] %}}{{% endfor %}}{end}"
        )
    };
    let ends =
        ["", "{{ ns.s }}", "{{ ns.s | tojson }}", "{{ ns.s | string }}", "{{ 'x' ~ ns.s }}", "{{ ns.s | join }}"];
    let mut sources: Vec<String> = ends.iter().flat_map(|end| [doubled(end), nested(end), tree(end)]).collect();
    sources.extend(
        [
            "{{ ns.s | list | length }}",
            "{{ 2 in ns.s }}",
            "{{ ns.s | sum }}",
            "{{ ns.s | unique }}",
            "{{ ns.s | reverse | first }}",
        ]
        .map(doubled),
    );
    sources.extend([
        "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}".to_owned(),
        "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('', ns.s) %}{% endfor %}"
            .to_owned(),
        "{{ 'a' * 10000000000 }}".to_owned(),
        "{{ [0] * 10000000000 }}".to_owned(),
        "{{ range(1000000000) | list }}".to_owned(),
        "{{ range(1000000000) | tojson }}".to_owned(),
        "{{ range(1000000000) }}".to_owned(),
        "{% macro f(s, n) %}{% if n %}{{ f(s + s, n - 1) }}{% endif %}{% endmacro %}{{ f([1], 60) }}".to_owned(),
        "{{ 'x' | indent(10000000000, true) }}".to_owned(),
        "{{ 9 ** 9 ** 9 ** 9 }}".to_owned(),
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}".to_owned(),
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}".to_owned(),
        "{{ strftime_now('%Y' * 10000000) }}".to_owned(),
        "{% extends 'chat' %}".to_owned(),
        "{{ messages.__class__.__mro__ }}".to_owned(),
        "{{ messages[0].content.append('x') }}".to_owned(),
        format!("{{{{ raw }}}}{}", doubled("{{ ns.s }}")),
        "{% generation %}".to_owned(),
        "{% endgeneration %}".to_owned(),
        "{% generation".to_owned(),
        "{{ {} | tojson(separators=[1]) }}".to_owned(),
        "{{ {} | tojson(indent='x') }}".to_owned(),
    ]);
    let tokenizer = tokenizer("", "<e>");
    for source in sources {
        let options = ChatOptions { now: Some(0), ..ChatOptions::default() };
        let rendered = ChatTemplate::new(&source, "evil.gguf")
            .and_then(|template| template.render(&[message("user", "hi")], &tokenizer, &options));
        let error = rendered.err().unwrap_or_else(|| panic!("{source} was rendered")).to_string();
        assert!(error.contains("evil.gguf") && error.lines().count() == 1 && error.len() < 500, "{source}: {error}");
    }
}
