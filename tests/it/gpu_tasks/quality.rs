//! What rounding costs an encoder: MiniLM in four types, on SST-2's development set.

use super::texts::labelled_sst2;
use crate::common::gpu::{block_on, open_folder, test_gpu};
use crate::common::shared;
use std::rc::Rc;
use trice::format::mix::Mix;
use trice::gpu::Gpu;
use trice::session::LoadOptions;
use trice::tasks::{ClassifyOptions, Scaling, TextEncoder};

const TYPES: [&str; 4] = ["F32", "F16", "Q8_0", "Q4_0"];

const HEAD: &str = "## What rounding costs

Written by the same command. Accuracy of `minilm-sst2` on SST-2's development set, and the cosine of `all-MiniLM-L6-v2`'s vectors of the same
texts with those in F32; the folders hold F16 and F32.

| type | right | accuracy | mean cosine | least cosine |
|---|---|---|---|---|
";

fn load(gpu: &Rc<Gpu>, model: &str, name: &str) -> TextEncoder {
    let checkpoint = open_folder(model).load_as(&Mix::from_name(name).unwrap()).unwrap();
    block_on(TextEncoder::load(gpu, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap()
}

fn vectors(gpu: &Rc<Gpu>, name: &str, texts: &[&str]) -> Vec<Vec<f32>> {
    block_on(load(gpu, "models/all-MiniLM-L6-v2", name).embed(texts, None, Scaling::Unit)).unwrap()
}

/// How many texts get their label.
fn n_right(gpu: &Rc<Gpu>, name: &str, texts: &[&str], labels: &[usize]) -> usize {
    let mut encoder = load(gpu, "models/minilm-sst2", name);
    let found = block_on(encoder.classify(texts, &ClassifyOptions::default())).unwrap();
    let names = ["NEGATIVE", "POSITIVE"];
    found.iter().zip(labels).filter(|(text, label)| text.labels[0].label == names[**label]).count()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The mean and the least cosine of vectors in this type with those in F32.
fn likeness(vectors: &[Vec<f32>], wanted: &[Vec<f32>]) -> (f64, f64) {
    let cosines: Vec<f64> = vectors.iter().zip(wanted).map(|(a, b)| cosine(a, b)).collect();
    (cosines.iter().sum::<f64>() / cosines.len() as f64, cosines.iter().copied().fold(f64::INFINITY, f64::min))
}

pub(super) fn section(gpu: &Rc<Gpu>) -> String {
    let labelled = labelled_sst2();
    let (labels, texts): (Vec<usize>, Vec<&str>) = labelled.iter().map(|(label, text)| (*label, text.as_str())).unzip();
    let wanted = vectors(gpu, "F32", &texts);
    let row = |name: &&str| {
        let right = n_right(gpu, name, &texts, &labels);
        let (mean, least) = likeness(&vectors(gpu, name, &texts), &wanted);
        let (n, accuracy) = (texts.len(), 100.0 * right as f64 / texts.len() as f64);
        format!("| {name} | {right} of {n} | {accuracy:.2} % | {mean:.6} | {least:.6} |\n")
    };
    HEAD.to_owned() + &TYPES.iter().map(row).collect::<String>()
}

/// On a tenth of the texts, so that it is quick: the types keep their order and stay near.
#[test]
fn minilm_stays_itself_in_fewer_bits() {
    let (Some(_), Some(_), Some(gpu)) = (shared("data/sst2"), shared("models/all-MiniLM-L6-v2"), test_gpu()) else {
        return;
    };
    let labelled = labelled_sst2();
    let (labels, texts): (Vec<usize>, Vec<&str>) =
        labelled.iter().step_by(20).map(|(label, text)| (*label, text.as_str())).unzip();
    let wanted = vectors(&gpu, "F32", &texts);
    let exact = n_right(&gpu, "F32", &texts, &labels);
    for (name, least, lost) in [("F16", 0.9999, 0), ("Q8_0", 0.999, 1), ("Q4_0", 0.9, 4)] {
        let (mean, worst) = likeness(&vectors(&gpu, name, &texts), &wanted);
        let right = n_right(&gpu, name, &texts, &labels);
        println!("{name}: {right} of {} ({exact} in F32), cosine {mean:.6}, {worst:.6} at least", texts.len());
        assert!(worst >= least && right + lost >= exact, "{name}: cosine {worst}, {right} right of {exact}");
    }
}
