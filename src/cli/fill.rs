//! `trice fill`: words for the hidden places of texts.

use super::args::FillArgs;
use super::context::Context;
use super::interrupt::Interrupt;
use super::model;
use super::per_text::{self, PerText};
use trice::rows::{Cell, Column, Kind};
use trice::session::Cancel;
use trice::tasks::{FillOptions, Filled, Filling, Reading, TextEncoder};

pub(crate) fn run(context: &Context, args: FillArgs) -> anyhow::Result<()> {
    let options = FillOptions { top: args.top as usize };
    let weights = args.texts.weights.clone();
    let request = args.texts.read(context, vec![Column::new("masks", Kind::Json)])?;
    let name = request.named_model("one with a head of hidden tokens")?.to_owned();
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let encoder = model::load_encoder(context, &name, &weights, &interrupt).await?;
        per_text::run(context, Filler { encoder, options }, request.texts, &interrupt).await
    })
}

/// An encoder, and how many words are wanted of it.
struct Filler {
    encoder: TextEncoder,
    options: FillOptions,
}

impl PerText for Filler {
    const DOING: &'static str = "Filling";

    type Result = Filled;

    async fn results(&mut self, texts: &[&str]) -> trice::Result<Vec<Filled>> {
        self.encoder.fill(texts, &self.options).await
    }

    fn reading(_: &Filled) -> Option<&Reading> {
        None
    }

    fn cells(&self, filled: Filled) -> trice::Result<Vec<Cell>> {
        Ok(vec![Cell::json(&filled.masks)?])
    }

    /// The words below each other, place by place.
    fn lines(&self, _text: &str, filled: &Filled) -> Vec<String> {
        let line = |filling: &Filling| format!("  {:.4}  {}  {}", filling.score, filling.token_str, filling.sequence);
        filled.masks.iter().flatten().map(line).collect()
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.encoder.set_cancel(cancel);
    }
}
