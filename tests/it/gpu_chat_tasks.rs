//! What a chat model is told to do. The built-in model follows no instruction: what is held here is form, lengths and limits.

use crate::common::gpu::{block_on, open_bytes, test_gpu};
use crate::program::{Server, has_gpu, json as run_json, last_error, run, run_with_input, stdout};
use serde_json::{Value, json};
use trice::Error;
use trice::session::{Cancel, FinishReason, GenerateOptions, LoadOptions, Session};
use trice::tasks::chat::{relations, summarize, translate};
use trice::text::SamplingParams;

const TEXTS: [&str; 4] = [
    "Tom has a dog. The dog lives in the red house.",
    "Marie Curie was born in Warsaw and worked in Paris.",
    "\"Quotes\" and {braces}, \\ and 日本",
    "a",
];

fn stories() -> Option<Session> {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let checkpoint = open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap());
    Some(block_on(Session::load(&test_gpu()?, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap())
}

fn at_most(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens: Some(max_tokens), ..GenerateOptions::default() }
}

/// A story of many paragraphs, of several contexts.
fn long_text() -> String {
    (0..60).map(|i| format!("Day {i}. The cat saw a bird. It ran and ran.\n\n")).collect()
}

#[test]
fn relations_are_triples_whatever_the_model() {
    let Some(mut session) = stories() else { return };
    let (mut n_triples, mut n_cut) = (0, 0);
    for (text, seed) in TEXTS.iter().flat_map(|text| (0..5).map(move |seed| (text, seed))) {
        let sampling = SamplingParams { temperature: 1.0, seed, ..SamplingParams::default() };
        let options = GenerateOptions { sampling, ..GenerateOptions::default() };
        let found = block_on(relations(&mut session, text, &options)).unwrap();
        let parts = found.relations.iter().flat_map(|triple| [&triple.head, &triple.relation, &triple.tail]);
        for part in parts {
            assert!((1..=60).contains(&part.chars().count()), "{part:?}");
        }
        assert!(found.relations.iter().enumerate().all(|(i, triple)| !found.relations[..i].contains(triple)));
        n_triples += found.relations.len();
        n_cut += usize::from(found.finish_reason == FinishReason::Length);
    }
    println!("20 texts: {n_triples} triples, {n_cut} lists cut by the context");
    assert!(n_triples > 20, "{n_triples} triples");
}

#[test]
fn long_texts_are_worked_on_in_pieces() {
    let Some(mut session) = stories() else { return };
    let text = long_text();
    let short = block_on(summarize(&mut session, TEXTS[0], &at_most(12))).unwrap();
    assert_eq!(short.n_pieces, 1);
    let whole = block_on(summarize(&mut session, &text, &at_most(12))).unwrap();
    assert!(whole.n_pieces > 2 && whole.summary_text.len() < text.len() / 10, "{whole:?}");
    let again = block_on(summarize(&mut session, &text, &at_most(12))).unwrap();
    assert_eq!(again, whole);
    let translated = block_on(translate(&mut session, &text, "French", &at_most(8))).unwrap();
    assert!(translated.n_pieces > 2, "{translated:?}");
    assert_eq!(translated.finish_reason, FinishReason::Length);
    // Pieces end with paragraphs, and so do their translations.
    assert_eq!(translated.translation_text.matches("\n\n").count(), translated.n_pieces - 1, "{translated:?}");
    let found = block_on(relations(&mut session, &text, &at_most(60))).unwrap();
    assert!(found.n_pieces >= translated.n_pieces, "{found:?}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let Some(mut session) = stories() else { return };
    let options = GenerateOptions::default();
    let empty = block_on(summarize(&mut session, " \n", &options)).unwrap_err();
    assert!(matches!(empty, Error::Invalid { .. }), "{empty}");
    let nowhere = block_on(translate(&mut session, "Hello", "", &options)).unwrap_err();
    assert!(nowhere.to_string().contains("language"), "{nowhere}");
    let cancel = Cancel::default();
    cancel.cancel();
    let stopped = block_on(relations(&mut session, "Hello", &GenerateOptions { cancel, ..options }));
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let checkpoint = open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap());
    let load = LoadOptions { context_len: Some(24), ..LoadOptions::default() };
    let mut small = block_on(Session::load(&test_gpu().unwrap(), &checkpoint, &load, &mut |_| {})).unwrap();
    let cramped = block_on(summarize(&mut small, "Hello", &GenerateOptions::default())).unwrap_err();
    assert!(matches!(cramped, Error::Limit { available: 24, .. }), "{cramped}");
}

/// Each command, for people and as JSON, and a decoder that classifies.
#[test]
fn commands_print_what_they_found() {
    if !has_gpu() {
        return;
    }
    let model = "builtin:stories";
    let summary = run_json(&["summarize", model, TEXTS[0], "-n", "8", "--json"]);
    assert_eq!((&summary["index"], &summary["finish_reason"]), (&json!(0), &json!("length")));
    let plain = run_with_input(&["summarize", model, "-n", "8"], TEXTS[0]);
    assert_eq!(stdout(&plain).trim(), summary["summary_text"].as_str().unwrap());
    let translation = run_json(&["translate", model, "--to", "German", TEXTS[0], "-n", "8", "--json"]);
    assert!(translation["translation_text"].is_string(), "{translation}");
    let schema = json!({
        "type": "object", "required": ["index", "relations"],
        "properties": {"relations": {"type": "array", "items": {
            "type": "object", "required": ["head", "relation", "tail"], "additionalProperties": {"type": "string"},
        }}},
    });
    let found: Value = run_json(&["relations", model, TEXTS[1], "--json"]);
    assert!(jsonschema::is_valid(&schema, &found), "{found}");
    let labels = run_json(&["classify", model, "--labels", "dog,sun", TEXTS[0], "--json"]);
    assert_eq!(labels["labels"].as_array().unwrap().len(), 2);
    for (args, wanted) in [
        (&["classify", model, "a text"][..], "--labels"),
        (&["classify", model, "--labels", "a,b", "--multi-label", "a text"], "alone"),
        (&["translate", model, "a text"], "--to"),
        (&["summarize", model, ""], "empty"),
        (&["summarize", "builtin:sentiment", "a text"], "encoder"),
    ] {
        let output = run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(wanted), "{args:?}: {}", last_error(&output));
    }
}

#[test]
fn the_server_classifies_by_a_decoder_that_is_named() {
    if !has_gpu() {
        return;
    }
    let server = Server::start(&["builtin:stories"]).ready();
    let ask = |extra: Value| {
        let mut body = json!({"model": "builtin:stories", "input": [TEXTS[0], "N/A"]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.post("/v1/classify", body.to_string())
    };
    let reply = ask(json!({"labels": ["dog", "sun"]})).json();
    let scores = |i: usize| reply["data"][i]["labels"].as_array().unwrap().iter().map(|l| l["score"].as_f64().unwrap());
    assert!((0..2).all(|i| (scores(i).sum::<f64>() - 1.0).abs() < 1e-5), "{reply}");
    assert!(scores(1).all(|score| (score - 0.5).abs() < 1e-4), "{reply}");
    for (extra, word) in [(json!({}), "labels"), (json!({"labels": ["a", "b"], "multi_label": true}), "alone")] {
        let refused = ask(extra);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains(word), "{refused:?}");
    }
}
