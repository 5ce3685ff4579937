//! Encoders: two texts of different lengths, each alone and both in one batch, give torch's vectors and scores. What needs ids of
//! types, and what is said of every token (`token`, `answer`, `mask`), stands in the goldens for when encoders run it.

use super::{Outcome, compare};
use crate::common::gpu::block_on;
use crate::common::hashed::{Golden, ids, read_goldens, unpack};
use trice::Result;
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::kernels::elementwise::{Pooling, Scaling};
use trice::model::encoder::{Encoder, Output};

const GOLDENS: &str = include_str!("../../golden/encoders.json");

/// Rows of an embedding's golden: hidden states of the first, the middle and the last token, the mean of all.
const HIDDEN_ROWS: usize = 4;

test_families!(bert, distilbert, modernbert, mpnet, nomic_bert, roberta, xlm_roberta);

/// Those whose results an encoder can give.
pub(super) fn goldens() -> Vec<Golden> {
    let runs = |golden: &Golden| {
        let is_of_texts = ["embedding", "sequence"].contains(&golden.0["task"].as_str().unwrap());
        is_of_texts && golden.0["texts"][0].get("types").is_none()
    };
    read_goldens(GOLDENS).into_iter().filter(runs).collect()
}

/// The model's results on all of `golden`.
pub(super) fn run(gpu: &Gpu, golden: &Golden, checkpoint: &Checkpoint) -> Outcome {
    let mut encoder = load(gpu, checkpoint).map_err(|error| error.to_string())?;
    let texts = golden.0["texts"].as_array().unwrap();
    let ids: Vec<Vec<u32>> = texts.iter().map(|text| ids(&text["ids"])).collect();
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packed: Vec<_> = texts.iter().map(|text| &text["output"]).collect();
    let is_embedding = golden.0["task"] == "embedding";
    let outputs: Vec<(&str, Output, Vec<Vec<f64>>)> = if is_embedding {
        let row = |i: usize| packed.iter().map(|packed| unpack(packed, HIDDEN_ROWS).swap_remove(i)).collect();
        let raw = |pooling| Output::Embedding(pooling, Scaling::Raw);
        vec![
            ("first token", raw(Pooling::Cls), row(0)),
            ("last token", raw(Pooling::Last), row(2)),
            ("mean", raw(Pooling::Mean), row(3)),
        ]
    } else {
        vec![("scores", Output::Logits, packed.iter().map(|packed| unpack(packed, 1).swap_remove(0)).collect())]
    };
    let mut worst = 0f64;
    for (what, output, wanted) in outputs {
        let together = block_on(encoder.run(gpu, &ids, output)).map_err(|error| error.to_string())?;
        for (i, wanted) in wanted.iter().enumerate() {
            let alone = block_on(encoder.run(gpu, &ids[i..=i], output)).unwrap().swap_remove(0);
            worst = worst.max(compare(&format!("{what} of text {i}"), &alone, wanted)?);
            worst = worst.max(compare(&format!("{what} of text {i} in a batch"), &together[i], wanted)?);
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
