//! `trice fill`: words for the hidden places of texts.

use super::args::FillArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::texts::TEXTS_PER_BATCH;
use serde::Serialize;
use trice::tasks::{FillOptions, Filled};

/// One line of `fill --json`.
#[derive(Serialize)]
struct Line<'a> {
    /// Which text, counted from 0.
    index: usize,
    #[serde(flatten)]
    filled: &'a Filled,
}

pub(crate) fn run(context: &Context, args: FillArgs) -> anyhow::Result<()> {
    let options = FillOptions { top: args.top as usize };
    let weights = args.texts.weights.clone();
    let request = args.texts.read()?;
    let name = request.named_model("one with a head of hidden tokens")?;
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        for (batch, chunk) in request.texts.chunks(TEXTS_PER_BATCH).enumerate() {
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for (i, filled) in encoder.fill(&chunk, &options).await?.iter().enumerate() {
                match context.output {
                    Output::Json => context.print_json(&Line { index: batch * TEXTS_PER_BATCH + i, filled })?,
                    Output::Text => print_text(context, chunk[i], filled, request.texts.len())?,
                }
            }
        }
        Ok(())
    })
}

/// The words below each other, place by place, under their text where there are several texts.
fn print_text(context: &Context, text: &str, filled: &Filled, n_texts: usize) -> anyhow::Result<()> {
    if n_texts > 1 {
        context.print(text)?;
    }
    for filling in filled.masks.iter().flatten() {
        context.print(&format!("  {:.4}  {}  {}", filling.score, filling.token_str, filling.sequence))?;
    }
    Ok(())
}
