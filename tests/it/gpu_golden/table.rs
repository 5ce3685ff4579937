//! docs/MODELS.md: every golden with its distances from torch. `BLESS=1` measures and writes it; otherwise its rows are compared,
//! whose digits differ between devices.

use super::{Form, Outcome, decoders, encoders, outcome};
use crate::common::gpu::test_gpu;
use crate::common::hashed::Golden;
use trice::format::Checkpoint;
use trice::gpu::Gpu;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/MODELS.md");

const HEAD: &str = "# What runs, and how near to torch

Written by `BLESS=1 cargo test --test it gpu_golden::table`. Each row is a tiny random model of a `transformers` class with odd sizes
(`tests/golden`), as a Hugging Face folder and as a GGUF. Numbers are the largest ‖ours − torch's‖² / ‖torch's‖² of its results: for a
decoder, of the logits behind a prompt of 70 ids, given in one chunk, in chunks of 23 and one by one, and behind each of the ten ids
that follow greedily, which are torch's too; for an encoder, of the vectors or scores of two texts, alone and in one batch.
–: no GGUF says all of such a model. Not yet: refused, or too far.

";

type Run = fn(&Gpu, &Golden, &Checkpoint) -> Outcome;

/// Title, goldens, what runs them.
fn sections() -> [(&'static str, Vec<Golden>, Run); 2] {
    [("decoder", decoders::goldens(), decoders::run), ("encoder", encoders::goldens(), encoders::run)]
}

fn cell(gpu: &Gpu, golden: &Golden, form: Form, run: Run) -> String {
    match outcome(golden, form, &|golden, checkpoint| run(gpu, golden, checkpoint)) {
        None => "–".to_owned(),
        Some(Ok(worst)) => format!("{worst:.0e}"),
        Some(Err(what)) => {
            println!("{} as a {form:?}: {what}", golden.name());
            "not yet".to_owned()
        }
    }
}

fn measured(gpu: &Gpu) -> String {
    let mut text = HEAD.to_owned();
    for (title, goldens, run) in sections() {
        text += &format!("| {title} | folder | GGUF |\n|---|---|---|\n");
        for golden in goldens {
            let cells = Form::ALL.map(|form| cell(gpu, &golden, form, run));
            text += &format!("| {} | {} |\n", golden.name(), cells.join(" | "));
        }
        text += "\n";
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

#[test]
fn docs_name_every_model() {
    if std::env::var_os("BLESS").is_some() {
        let gpu = test_gpu().expect("a GPU to measure on");
        std::fs::write(PATH, measured(&gpu)).unwrap();
    }
    let text = std::fs::read_to_string(PATH).unwrap();
    let mut documented: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        documented.extend(line.split(" | ").next().and_then(|cell| cell.strip_prefix("| ")));
    }
    let there = sections().map(|(title, goldens, _)| {
        let names = goldens.iter().map(|golden| golden.name().to_owned());
        std::iter::once(title.to_owned()).chain(names).collect::<Vec<_>>()
    });
    assert_eq!(documented, there.concat(), "BLESS=1 writes {PATH}");
}
