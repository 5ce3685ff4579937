//! Runs that end before their table does.

use super::Files;
use crate::program::{has_gpu, last_error, run, trice};
use serde_json::{Value, json};

/// More rows than a window has, of lengths that differ.
fn table(n_rows: usize) -> String {
    let row = |i: usize| match i % 50 {
        7 => "{\"text\": broken\n".to_owned(),
        _ => format!("{}\n", json!({"id": i, "text": format!("{} film {i}", "a good and long ".repeat(i % 5))})),
    };
    (0..n_rows).map(row).collect()
}

#[test]
fn gpu_a_result_that_was_cut_anywhere_becomes_the_same() {
    if !has_gpu() {
        return;
    }
    let jsonl = Files::new("jsonl", table(600).as_bytes());
    let whole = jsonl.result(&["classify"]);
    assert_eq!(whole.lines().count(), 600);
    for (i, line) in whole.lines().enumerate().filter(|(i, _)| i % 50 != 7) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["id"], i);
    }
    let csv = Files::new("csv", b"id,text\r\n1,\"a good\nfilm\"\r\n2,\"a\"\"b\n\"\r\n3,bad\r\n");
    let whole_csv = csv.result(&["classify"]);
    let lines = Files::new("txt", b"one\r\ntwo\r\nthree");
    let whole_lines = lines.result(&["embed"]);
    for (files, whole, command, cuts) in [
        (&jsonl, whole, "classify", vec![0, 1, 5000, 40_000]),
        (&csv, whole_csv.clone(), "classify", (0..whole_csv.len()).step_by(9).chain([whole_csv.len() - 1]).collect()),
        (&lines, whole_lines.clone(), "embed", vec![1, 4, whole_lines.find("two").unwrap(), whole_lines.len()]),
    ] {
        for cut in cuts {
            std::fs::write(&files.out, &whole[..cut]).unwrap();
            assert!(files.result(&[command, "--resume"]) == whole, "cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn gpu_a_json_result_is_gone_on_with() {
    if !has_gpu() {
        return;
    }
    let files = Files::new("jsonl", table(60).as_bytes());
    let whole = files.result(&["classify", "--json"]);
    for cut in [0, 100, whole.len() / 2, whole.len()] {
        std::fs::write(&files.out, &whole[..cut]).unwrap();
        assert!(files.result(&["classify", "--json", "--resume"]) == whole, "cut at {cut}");
    }
    for other in ["{\"index\":1,\"labels\":[]}\n", "mine"] {
        std::fs::write(&files.out, other).unwrap();
        let output = files.run(&["classify", "--json", "--resume"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(last_error(&output).contains("row 0"), "{}", last_error(&output));
        assert_eq!(files.read(), other);
    }
}

#[test]
fn gpu_another_tables_result_is_not_gone_on_with() {
    if !has_gpu() {
        return;
    }
    for (table, old, words) in [
        ("id,text\n1,a\n2,b\n", "id,text,label,score,error\n1,a,x,1,\n2,c,x,1,\n", "row 2"),
        ("id,text\n1,a\n", "id,text,label,score,error\n1,a,x,1,\n2,b,x,1,\n", "row 2"),
        ("id,text\n1,a\n", "id,text,label,score,error\nmine", "row 1"),
        ("id,text\n1,a\n", "id,text,label,score,error\n1,a,x,1,\n2", "row 2"),
        ("id,text\n1,a\n", "id,text,embedding,error\n1,a,[],\n", "header"),
    ] {
        let files = Files::new("csv", table.as_bytes());
        std::fs::write(&files.out, old).unwrap();
        let output = files.run(&["classify", "--resume"]);
        assert_eq!(output.status.code(), Some(2), "{}", last_error(&output));
        assert!(last_error(&output).contains(words), "{}", last_error(&output));
        assert_eq!(files.read(), old);
    }
}

#[cfg(unix)]
#[test]
fn gpu_ctrl_c_twice_and_a_kill_change_no_byte() {
    if !has_gpu() {
        return;
    }
    let files = Files::new("jsonl", table(3000).as_bytes());
    let command = ["classify", "--file", &files.table, "-o", &files.out, "--resume"];
    let n_bytes = || std::fs::metadata(&files.out).map_or(0, |metadata| metadata.len());
    for name in ["INT", "KILL", "INT"] {
        let before = n_bytes();
        let mut child = trice(&command).spawn().unwrap();
        while n_bytes() == before {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
            std::thread::yield_now();
        }
        crate::program::signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), (name == "INT").then_some(130), "{}", last_error(&output));
        if name == "INT" {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("--resume") && said.ends_with("interrupted\n"), "{said}");
        }
    }
    assert!(run(&command).status.success());
    let resumed = files.read();
    std::fs::remove_file(&files.out).unwrap();
    assert!(files.result(&["classify"]) == resumed, "another result than without interruptions");
    assert_eq!(resumed.lines().count(), 3000);
}
