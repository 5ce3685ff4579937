//! Heads learnt from labelled texts, and how often labels are right.

use super::Files;
use crate::program::{has_gpu, json, last_error, run, stdout};
use serde_json::Value;

/// A table of sentences about meals and about journeys.
fn table(n: usize, first: usize) -> String {
    let meals = ["soup", "bread", "cake", "rice", "fish", "salad", "cheese"];
    let journeys = ["train", "ticket", "airport", "bus", "hotel", "ferry", "station"];
    let rows = (first..first + n).map(|i| {
        let (meal, journey) = (meals[i % 7], journeys[(i / 2) % 7]);
        let (text, label) = match (i % 2, i % 3) {
            (0, 0) => (format!("the {meal} was cold and salty"), "food"),
            (0, 1) => (format!("please pass me the {meal}, I am hungry"), "food"),
            (0, _) => (format!("we cooked {meal} for dinner"), "food"),
            (_, 0) => (format!("when does the {journey} leave tomorrow"), "travel"),
            (_, 1) => (format!("the way to the {journey} took an hour"), "travel"),
            _ => (format!("I lost my bag at the {journey}"), "travel"),
        };
        format!("\"{text}\",{label}\n")
    });
    std::iter::once("sentence,category\n".to_owned()).chain(rows).collect()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn gpu_a_head_is_learnt_kept_and_used_again() {
    if !has_gpu() {
        return;
    }
    let (train, test) = (Files::new("csv", table(120, 0).as_bytes()), Files::new("csv", table(42, 126).as_bytes()));
    let head = train.folder.path().join("head.safetensors").display().to_string();
    let output = run(&["classify", "--train", &train.table, "--test", &test.table, "-o", &head, "--json"]);
    assert!(output.status.success(), "{}", last_error(&output));
    let printed = objects(&stdout(&output));
    let [learnt, examined] = printed.as_slice() else { panic!("{printed:?}") };
    assert_eq!((&learnt["labels"], &learnt["examples"]), (&2.into(), &120.into()));
    assert_eq!(learnt["held_out"]["examples"], 12);
    assert_eq!(examined["examples"], 42);
    // Guessing gets half of them right.
    assert!(examined["accuracy"].as_f64().unwrap() > 0.8, "{examined}");
    let again = json(&["classify", "--head", &head, "--test", &test.table, "--json"]);
    assert_eq!(again["right"], examined["right"]);
    let labelled = json(&["classify", "--head", &head, "the soup was salty", "--json"]);
    let labels: Vec<&str> =
        labelled["labels"].as_array().unwrap().iter().map(|l| l["label"].as_str().unwrap()).collect();
    assert!(labels == ["food", "travel"] || labels == ["travel", "food"], "{labels:?}");
}

#[test]
fn examples_that_teach_nothing_are_refused() {
    let files = Files::new("csv", b"text,label\na,\n,b\n");
    let head = files.folder.path().join("head.safetensors").display().to_string();
    let refused = |arguments: &[&str], code, words: &str| {
        let output = run(&[&["classify"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(last_error(&output).contains(words), "{arguments:?}: {}", last_error(&output));
    };
    refused(&["--train", &files.table, "-o", &head], 2, "no row has a text and a label");
    refused(&["--train", &files.table], 2, "-o HEAD.safetensors");
    refused(&["--train", &files.table, "-o", &files.table], 2, "is there already");
    refused(&["--train", &files.table, "-o", &head, "--label-column", "tag"], 2, "text, label");
    refused(&["--train", "/nowhere.csv", "-o", &head], 1, "/nowhere.csv");
    refused(&["some text", "--test", &files.table], 2, "no others are taken");
    assert!(!std::path::Path::new(&head).exists());
}

#[test]
fn gpu_one_label_is_none() {
    if !has_gpu() {
        return;
    }
    let files = Files::new("jsonl", b"{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"x\"}\n");
    let head = files.folder.path().join("head.safetensors").display().to_string();
    let output = run(&["classify", "--train", &files.table, "-o", &head]);
    assert_eq!(output.status.code(), Some(2));
    assert!(last_error(&output).contains("two labels or more"), "{}", last_error(&output));
}
