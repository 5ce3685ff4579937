//! docs/TASKS.md: every golden with how far scores are from transformers'. `BLESS=1` measures and writes it; otherwise its rows are
//! compared, whose digits differ between devices.

use super::{Compared, compare, goldens, quality, task};
use crate::common::gpu::test_gpu;
use std::rc::Rc;
use trice::gpu::Gpu;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/TASKS.md");

/// What is written anew begins here.
const MEASURED: &str = "## Held to transformers\n";

const HEAD: &str = "
Written by `BLESS=1 cargo test --test it gpu_tasks::table`. Each row is a model of a `transformers` class, `minilm-…` a real one and the
others tiny random ones with tokenizers of their own (`tests/golden/tasks.py`), on texts of SST-2 (classes, own labels, hidden words,
vectors), WNUT-17 (tags) and XQuAD (answers, order, long texts). Labels, spans, places, words and order are the pipeline's in every one;
the last number is the largest difference of a score, of which 1e-4 is allowed.

| task | model | transformers | texts | scores | apart at most |
|---|---|---|---|---|---|
";

fn row(golden: &crate::common::hashed::Golden, cells: [String; 3]) -> String {
    let version = golden.0["transformers"].as_str().unwrap();
    format!("| {} | {} | {version} | {} |\n", task(golden).replace('_', "-"), golden.name(), cells.join(" | "))
}

fn measured(gpu: &Rc<Gpu>) -> String {
    let mut text = MEASURED.to_owned() + HEAD;
    for golden in goldens() {
        let Compared { n_texts, n_scores, worst } = compare(gpu, &golden);
        text += &row(&golden, [n_texts.to_string(), n_scores.to_string(), format!("{worst:.0e}")]);
    }
    text + "\n" + &quality::section(gpu)
}

#[test]
fn docs_name_every_case() {
    let mut text = std::fs::read_to_string(PATH).unwrap();
    let (kept, rest) = text.split_once(MEASURED).expect("the heading");
    if std::env::var_os("BLESS").is_some() {
        let gpu = test_gpu().expect("a GPU to measure on");
        text = kept.to_owned() + &measured(&gpu);
        std::fs::write(PATH, text).unwrap();
        return;
    }
    let begins: Vec<String> = goldens().iter().map(|golden| row(golden, Default::default())).collect();
    let begin = |row: &str| row.split(" | ").take(3).collect::<Vec<_>>().join(" | ");
    let documented: Vec<String> = rest.lines().filter(|line| line.starts_with("| ")).map(begin).collect();
    for wanted in begins {
        assert!(documented.contains(&begin(&wanted)), "BLESS=1 writes {PATH}: {wanted}");
    }
}
