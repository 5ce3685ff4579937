//! The texts of tests/golden/tasks.py, by the same rules.

use crate::common::shared;
use serde_json::Value;

const N_TEXTS: usize = 200;

fn read(path: &str) -> String {
    std::fs::read_to_string(shared(path).unwrap()).unwrap()
}

/// The first lines of SST-2's development set with their labels, 0 or 1.
pub(super) fn labelled_sst2() -> Vec<(usize, String)> {
    let text = read("data/sst2/stsa.binary.dev");
    let lines = text.split('\n').filter(|line| !line.is_empty());
    lines.map(|line| (usize::from(line.starts_with('1')), line[2..].to_owned())).collect()
}

pub(super) fn sst2() -> Vec<String> {
    labelled_sst2().into_iter().map(|(_, text)| text).take(N_TEXTS).collect()
}

/// Sentences of tweets: their words with a space between.
pub(super) fn wnut17(n: usize) -> Vec<String> {
    let text = read("data/wnut17/emerging.dev.conll");
    let sentence = |block: &str| {
        let words = block.split('\n').filter(|line| !line.trim().is_empty());
        words.map(|line| line.split('\t').next().unwrap_or_default()).collect::<Vec<_>>().join(" ")
    };
    text.split("\n\n").map(sentence).filter(|text| !text.trim().is_empty()).take(n).collect()
}

/// Paragraphs with the first question about each: (question, context).
pub(super) fn xquad(language: &str, n: usize) -> Vec<(String, String)> {
    let json: Value = serde_json::from_str(&read(&format!("data/xquad/xquad.{language}.json"))).unwrap();
    let articles = json["data"].as_array().unwrap().iter();
    let paragraphs = articles.flat_map(|article| article["paragraphs"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    paragraphs.map(|paragraph| (text(&paragraph["qas"][0]["question"]), text(&paragraph["context"]))).take(n).collect()
}

/// Questions, each with the beginnings of five paragraphs, the first of them its own.
pub(super) fn queries() -> Vec<(String, Vec<String>)> {
    let pairs = xquad("en", N_TEXTS);
    let beginning = |i: usize| pairs[i % pairs.len()].1.chars().take(200).collect();
    (0..pairs.len()).map(|i| (pairs[i].0.clone(), (i..i + 5).map(beginning).collect())).collect()
}

/// The middle word is hidden; of every tenth text the first one too.
pub(super) fn hidden(mask: &str) -> Vec<String> {
    let hide = |(i, text): (usize, String)| {
        let mut words: Vec<&str> = text.split(' ').collect();
        let middle = words.len() / 2;
        words[middle] = mask;
        if i % 10 == 0 {
            words[0] = mask;
        }
        words.join(" ")
    };
    sst2().into_iter().enumerate().map(hide).collect()
}
