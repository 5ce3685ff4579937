//! `trice embed`: one vector per text.

use super::args::{EmbedArgs, PoolingArg};
use super::context::Context;
use super::interrupt::Interrupt;
use super::model;
use super::per_text::{self, PerText};
use trice::rows::{Cell, Column, Kind};
use trice::session::Cancel;
use trice::tasks::{EmbedOptions, Embedded, Pooling, Reading, TextEncoder};

pub(crate) fn run(context: &Context, args: EmbedArgs) -> anyhow::Result<()> {
    let weights = args.texts.weights.clone();
    let request = args.texts.read(context, vec![Column::new("embedding", Kind::Numbers)])?;
    let name = request.model.as_deref().unwrap_or(model::DEFAULT_EMBEDDER);
    let pooling = args.pooling.map(|pooling| match pooling {
        PoolingArg::Mean => Pooling::Mean,
        PoolingArg::Cls => Pooling::Cls,
        PoolingArg::Last => Pooling::Last,
    });
    let options = EmbedOptions { pooling, normalize: args.normalize, long: args.long.into() };
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        per_text::run(context, Embedding { encoder, options }, request.texts, &interrupt).await
    })
}

/// An encoder, and how its vectors are made.
struct Embedding {
    encoder: TextEncoder,
    options: EmbedOptions,
}

impl PerText for Embedding {
    const DOING: &'static str = "Embedding";

    /// A line per vector, as programs read them.
    const IS_TEXT_SHOWN: bool = false;

    type Result = Embedded;

    async fn results(&mut self, texts: &[&str]) -> trice::Result<Vec<Embedded>> {
        self.encoder.embed_texts(texts, &self.options).await
    }

    fn reading(embedded: &Embedded) -> Option<&Reading> {
        Some(&embedded.reading)
    }

    fn cells(&self, embedded: Embedded) -> trice::Result<Vec<Cell>> {
        Ok(vec![Cell::Numbers(embedded.embedding)])
    }

    fn lines(&self, _text: &str, embedded: &Embedded) -> Vec<String> {
        let numbers: Vec<String> = embedded.embedding.iter().map(ToString::to_string).collect();
        vec![numbers.join(" ")]
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.encoder.set_cancel(cancel);
    }
}
