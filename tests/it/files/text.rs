//! Lines, CSV and JSONL.

use super::{Files, assert_refused};
use crate::program::{has_gpu, json, last_error, run, run_with_input, stdout};
use serde_json::Value;

const GOOD: &str = "a gorgeous, witty film";
const BAD: &str = "an utterly boring mess";

/// What a text alone gets: the label, and the score as it is printed.
fn alone(text: &str) -> (String, String) {
    let output = run(&["classify", text, "--top", "1", "--json"]);
    let line = stdout(&output);
    let best: Value = serde_json::from_str::<Value>(&line).unwrap()["labels"][0].clone();
    let score = line.rsplit_once("\"score\":").unwrap().1.split('}').next().unwrap().to_owned();
    (best["label"].as_str().unwrap().to_owned(), score)
}

#[test]
fn gpu_csv_keeps_its_columns_and_its_bad_rows() {
    if !has_gpu() {
        return;
    }
    let table = format!(
        "id,text,\"a \"\"note\"\"\"\r\n1,\"{GOOD}\",\"x, \"\"y\"\"\"\r\n2,{BAD},\r\n3\r\n4, ,z\r\n5,a,b,c\r\n6,\"open"
    );
    let files = Files::new("csv", table.as_bytes());
    let ((good, good_score), (bad, bad_score)) = (alone(GOOD), alone(BAD));
    let output = files.run(&["classify"]);
    assert!(output.status.success(), "{}", last_error(&output));
    let wanted = format!(
        "id,text,\"a \"\"note\"\"\",label,score,error\r\n\
         1,\"{GOOD}\",\"x, \"\"y\"\"\",{good},{good_score},\r\n\
         2,{BAD},,{bad},{bad_score},\r\n\
         3,,,,,fields: 3 wanted and 1 found\r\n\
         4, ,z,,,the text is empty\r\n\
         5,a,\"b,c\",,,fields: 3 wanted and 4 found\r\n\
         6,open,,,,a quote is opened and not closed\n"
    );
    assert_eq!(files.read(), wanted);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("4 of 6 rows have an error") && said.contains("is row 3: fields"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn gpu_jsonl_keeps_its_keys_and_its_bad_rows() {
    if !has_gpu() {
        return;
    }
    let table = [
        format!("\u{FEFF}{{\"id\": 1e2, \"text\": \"{GOOD}\"}}\n").as_bytes(),
        b"{\"text\": \"cut\n\n{\"text\": null}\n{\"id\": 2}\n{\"text\": \"\xFF\"}\n",
        format!("{{\"text\":\"{BAD}\",\"more\":[{{}}]}}").as_bytes(),
    ]
    .concat();
    let files = Files::new("jsonl", &table);
    let ((good, good_score), (bad, bad_score)) = (alone(GOOD), alone(BAD));
    let result = files.result(&["classify"]);
    let lines: Vec<&str> = result.lines().collect();
    assert_eq!(
        lines[0],
        format!("\u{FEFF}{{\"id\": 1e2, \"text\": \"{GOOD}\",\"label\":\"{good}\",\"score\":{good_score}}}")
    );
    let row = |i: usize| serde_json::from_str::<Value>(lines[i]).unwrap();
    assert_eq!(row(1)["line"], "{\"text\": \"cut");
    assert_eq!(row(2), serde_json::json!({"text": null, "error": "text is null"}));
    assert_eq!(row(3), serde_json::json!({"id": 2, "error": "there is no key text"}));
    assert_eq!(row(4)["line"], "{\"text\": \"\u{FFFD}\"}");
    assert!((1..5).all(|i| row(i)["error"].is_string() && row(i).get("label").is_none()), "{result}");
    assert_eq!(lines[5], format!("{{\"text\":\"{BAD}\",\"more\":[{{}}],\"label\":\"{bad}\",\"score\":{bad_score}}}"));
    assert_eq!(lines.len(), 6);
}

#[test]
fn gpu_lines_get_their_results_behind_tabs() {
    if !has_gpu() {
        return;
    }
    let ((good, good_score), (bad, bad_score)) = (alone(GOOD), alone(BAD));
    let table = [format!("{GOOD}\r\n\n").as_bytes(), b"\xFF\n", BAD.as_bytes()].concat();
    let files = Files::new("txt", &table);
    assert!(files.run(&["classify"]).status.success());
    let first = format!("{GOOD}\t{good}\t{good_score}\t\r\n");
    let last = format!("{BAD}\t{bad}\t{bad_score}\t\n");
    let wanted = [first.as_bytes(), b"\xFF\t\t\tthe line is not UTF-8\n", last.as_bytes()].concat();
    assert_eq!(std::fs::read(&files.out).unwrap(), wanted);
}

#[test]
fn gpu_columns_are_named_numbered_and_kept_apart() {
    if !has_gpu() {
        return;
    }
    let files = Files::new("tsv", format!("label\ttitle\n0\t{GOOD}\n").as_bytes());
    let (label, score) = alone(GOOD);
    let named = files.result(&["classify", "--column", "title"]);
    let head = "label\ttitle\tpredicted_label\tpredicted_score\tpredicted_error\n";
    assert_eq!(named, format!("{head}0\t{GOOD}\t{label}\t{score}\t\n"));
    let files = Files::new("csv", format!("0,\"{GOOD}\"\n").as_bytes());
    let numbered = files.result(&["classify", "--no-header", "--column", "2"]);
    assert_eq!(numbered, format!("0,\"{GOOD}\",{label},{score},\n"));
}

#[test]
fn gpu_several_labels_and_vectors_are_json() {
    if !has_gpu() {
        return;
    }
    let files = Files::new("csv", format!("text\n\"{GOOD}\"\n").as_bytes());
    let result = files.result(&["classify", "--top", "2"]);
    assert!(result.starts_with("text,label,score,labels,error\n"), "{result}");
    let labels = result.split_once("\"[").unwrap().1.split_once("]\"").unwrap().0.replace("\"\"", "\"");
    let wanted = json(&["classify", GOOD, "--json"])["labels"].clone();
    assert_eq!(serde_json::from_str::<Value>(&format!("[{labels}]")).unwrap(), wanted);
    let files = Files::new("jsonl", format!("{{\"sentence\":\"{GOOD}\"}}\n").as_bytes());
    let row: Value = serde_json::from_str(&files.result(&["embed", "--normalize"])).unwrap();
    assert_eq!(row["embedding"], json(&["embed", GOOD, "--normalize", "--json"])["embedding"]);
}

#[test]
fn gpu_json_prints_what_it_always_has() {
    if !has_gpu() {
        return;
    }
    let files = Files::new("csv", format!("n,text\n1,\"{GOOD}\"\n2\n3,{BAD}\n").as_bytes());
    let output = run(&["classify", "--file", &files.table, "--json"]);
    let given = stdout(&run(&["classify", GOOD, BAD, "--json"]));
    let given: Vec<&str> = given.lines().collect();
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), (given[0], 3));
    assert_eq!(lines[1], "{\"index\":1,\"error\":\"fields: 2 wanted and 1 found\"}");
    assert_eq!(lines[2], given[1].replace("\"index\":1", "\"index\":2"));
    let piped = stdout(&run_with_input(&["classify", "--json"], &format!("{GOOD}\n\n{BAD}\n")));
    assert_eq!(piped.lines().collect::<Vec<_>>(), given);
}

#[test]
fn gpu_results_stand_beside_their_own_texts() {
    if !has_gpu() {
        return;
    }
    // Longest first, since texts are run by length.
    let text = |i: usize| format!("{} {}", if i.is_multiple_of(3) { BAD } else { GOOD }, "and so long ".repeat(30 - i));
    let texts: Vec<String> = (0..30).map(text).collect();
    let words: Vec<&str> = texts.iter().map(String::as_str).collect();
    let files = Files::new("txt", texts.join("\n").as_bytes());
    let given = stdout(&run(&[&["classify", "--json"], &words[..]].concat()));
    assert_eq!(files.result(&["classify", "--json"]), given);
    let scores: std::collections::BTreeSet<&str> =
        given.lines().map(|line| line.split_once("score").unwrap().1).collect();
    assert!(scores.len() > 25, "texts that cannot be told apart: {scores:?}");
}

/// Extension and bytes of a table, further arguments; the exit code and words of the refusal.
type Refused<'a> = (&'a str, &'a [u8], &'a [&'a str], i32, &'a [&'a str]);

#[test]
fn tables_that_make_no_sense_are_refused() {
    let cases: &[Refused<'_>] = &[
        ("csv", b"id,note\n1,a\n", &[], 2, &["--column", "id, note"]),
        ("csv", b"id,text\n1,a\n", &["--column", "txt"], 2, &["txt", "id, text"]),
        ("csv", b"id,text\n", &[], 2, &["there is no text"]),
        ("csv", b"", &[], 2, &["there is no text"]),
        ("txt", b"a\n", &["--column", "text"], 2, &["--column"]),
        ("jsonl", b"{\"text\":\"a\"}\n", &["--no-header"], 2, &["--no-header"]),
        ("jsonl", b"{\"id\":1,\"n\":2}\n", &[], 2, &["--column", "id, n"]),
        ("json", b"[\n{\"text\":\"a\"}\n]\n", &["--column", "txt"], 2, &["txt", "text"]),
        ("jsonl", b"[1]\n", &[], 1, &["row 1: no JSON object"]),
        ("txt", b"\xFF\xFEa\0", &[], 1, &["UTF-16"]),
        ("txt", b"a\0b\n", &[], 1, &["zero bytes"]),
        ("csv", b"label,predicted_label,text\n1,2,a\n", &[], 2, &["label", "predicted_label"]),
    ];
    for (extension, table, args, code, words) in cases {
        let files = Files::new(extension, table);
        let output = files.run(&[&["classify", "random:minilm"], *args].concat());
        assert_refused(&output, *code, words, &files.out);
    }
}

#[test]
fn no_file_is_lost() {
    let files = Files::new("txt", b"a\n");
    std::fs::write(&files.out, "mine").unwrap();
    let output = files.run(&["classify"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(last_error(&output).contains("--resume"), "{}", last_error(&output));
    assert_eq!(files.read(), "mine");
    let output = run(&["classify", "--file", &files.table, "-o", &files.table, "--resume"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(last_error(&output).contains("the file to read"), "{}", last_error(&output));
    assert_eq!(std::fs::read(&files.table).unwrap(), b"a\n");
    let absent = files.folder.path().join("absent.csv").display().to_string();
    let output = run(&["classify", "--file", &absent]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_error(&output).contains("absent.csv"), "{}", last_error(&output));
}
