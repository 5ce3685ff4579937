//! Encoders: two texts of different lengths, each alone and both in one batch, give torch's vectors, scores of texts and scores of
//! tokens.

use super::{Outcome, compare};
use crate::common::gpu::block_on;
use crate::common::hashed::{Golden, ids, read_goldens, unpack};
use trice::Result;
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::kernels::elementwise::{Pooling, Scaling};
use trice::model::encoder::{Encoder, Output, Text};

const GOLDENS: &str = include_str!("../../golden/encoders.json");

/// Rows of an embedding's golden: hidden states of the first, the middle and the last token, the mean of all.
const HIDDEN_ROWS: usize = 4;

test_families!(bert, distilbert, modernbert, mpnet, nomic_bert, roberta, xlm_roberta);

pub(super) fn goldens() -> Vec<Golden> {
    read_goldens(GOLDENS)
}

/// Rows of results of one text.
type Rows = Vec<Vec<f64>>;

/// Tokens that a head of hidden tokens is asked about.
fn asked(n: usize) -> [usize; 3] {
    [0, n / 2, n - 1]
}

/// The model's results on all of `golden`.
pub(super) fn run(gpu: &Gpu, golden: &Golden, checkpoint: &Checkpoint) -> Outcome {
    let mut encoder = load(gpu, checkpoint).map_err(|error| error.to_string())?;
    let texts = golden.0["texts"].as_array().unwrap();
    let all_ids: Vec<Vec<u32>> = texts.iter().map(|text| ids(&text["ids"])).collect();
    let all_asked: Vec<[usize; 3]> = all_ids.iter().map(|ids| asked(ids.len())).collect();
    let is_mask = golden.0["task"] == "mask";
    let batch: Vec<Text<'_>> = (0..texts.len())
        .map(|i| {
            let types = texts[i].get("types").map(ids);
            let second = types.and_then(|types| types.iter().position(|of| *of == 1)).unwrap_or(all_ids[i].len());
            Text { ids: &all_ids[i], second, asked: is_mask.then_some(&all_asked[i][..]) }
        })
        .collect();
    let packed: Vec<_> = texts.iter().map(|text| &text["output"]).collect();
    let rows = |n: &dyn Fn(usize) -> usize| -> Vec<Rows> {
        packed.iter().enumerate().map(|(i, packed)| unpack(packed, n(i))).collect()
    };
    let hidden = |i: usize| rows(&|_| HIDDEN_ROWS).into_iter().map(|mut rows| vec![rows.swap_remove(i)]).collect();
    let raw = |pooling| Output::Embedding(pooling, Scaling::Raw);
    // What is asked for, and per text the rows that are wanted.
    let outputs: Vec<(&str, Output, Vec<Rows>)> = match golden.0["task"].as_str().unwrap() {
        "embedding" => vec![
            ("first token", raw(Pooling::Cls), hidden(0)),
            ("last token", raw(Pooling::Last), hidden(2)),
            ("mean", raw(Pooling::Mean), hidden(3)),
        ],
        "sequence" => vec![("scores", Output::Logits, rows(&|_| 1))],
        "mask" => vec![("words", Output::TokenLogits, rows(&|_| 3))],
        _ => vec![("scores of tokens", Output::TokenLogits, rows(&|i| all_ids[i].len()))],
    };
    let mut worst = 0f64;
    for (what, output, wanted) in outputs {
        let mut together = block_on(encoder.run(gpu, &batch, output)).map_err(|error| error.to_string())?.into_iter();
        for (i, wanted) in wanted.iter().enumerate() {
            let alone = block_on(encoder.run(gpu, &batch[i..=i], output)).unwrap();
            if alone.len() != wanted.len() {
                return Err(format!("{what} of text {i}: {} rows, {} were wanted", alone.len(), wanted.len()));
            }
            for (row, wanted) in alone.iter().zip(wanted) {
                worst = worst.max(compare(&format!("{what} of text {i}"), row, wanted)?);
            }
            for (row, wanted) in together.by_ref().take(wanted.len()).zip(wanted) {
                worst = worst.max(compare(&format!("{what} of text {i} in a batch"), &row, wanted)?);
            }
        }
    }
    match golden.0.get("side").map(|side| &side["1_Pooling/config.json"]["pooling_mode_cls_token"]) {
        Some(cls) if (encoder.config().pooling == Pooling::Cls) != (cls == true) => {
            Err(format!("pooling {:?} was read from the files", encoder.config().pooling))
        }
        _ => Ok(worst),
    }
}

fn load(gpu: &Gpu, checkpoint: &Checkpoint) -> Result<Encoder> {
    let loading = block_on(Encoder::load(gpu, checkpoint))?;
    let loading = block_on(loading.read(&mut |_| Ok(())))?;
    block_on(loading.finish(&mut |_, _| Ok(())))
}
