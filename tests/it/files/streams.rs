//! Texts that come one after the other, from somebody who waits for answers.

use crate::program::{has_gpu, last_error, trice};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

#[test]
fn gpu_a_line_is_answered_before_the_next_one_comes() {
    if !has_gpu() {
        return;
    }
    for (args, head, row) in [
        (&["classify"][..], "", "a fine film 0"),
        (&["classify", "--format", "csv"], "id,text\n", "7,\"a fine\nfilm 0\""),
        (&["embed", "--format", "jsonl"], "", "{\"text\":\"a fine film 0\"}"),
    ] {
        let mut child = trice(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        input.write_all(head.as_bytes()).unwrap();
        let mut next = || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line
        };
        for i in 0..3 {
            let row = row.replace('0', &i.to_string());
            input.write_all(format!("{row}\n").as_bytes()).unwrap();
            if i == 0 && !head.is_empty() {
                assert!(next().starts_with(head.trim_end()));
            }
            let answer: String = (0..row.lines().count()).map(|_| next()).collect();
            let kept = row.trim_end_matches('}');
            assert!(answer.starts_with(kept) && answer.trim_end().len() > row.len(), "{answer:?} to {row:?}");
        }
        drop(input);
        let status = child.wait_with_output().unwrap();
        assert!(status.status.success(), "{}", last_error(&status));
    }
}

#[cfg(unix)]
#[test]
fn gpu_ctrl_c_ends_the_wait_for_a_line() {
    if !has_gpu() {
        return;
    }
    let mut child = trice(&["classify"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a fine film\n").unwrap();
    let mut answer = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("a fine film\t"), "{answer}");
    crate::program::signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(input);
}
