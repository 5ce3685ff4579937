//! `trice embed`: one vector per text.

use super::args::{EmbedArgs, PoolingArg};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use super::rows::{Cell, Column, Kind, Task};
use super::texts::{TEXTS_PER_BATCH, Texts};
use serde::Serialize;
use trice::session::Cancel;
use trice::tasks::{Pooling, Scaling, TextEncoder};

/// One line of `embed --json`.
#[derive(Serialize)]
struct Embedded<'a> {
    /// Which text, counted from 0.
    index: usize,
    embedding: &'a [f32],
}

pub(crate) fn run(context: &Context, args: EmbedArgs) -> anyhow::Result<()> {
    let weights = args.texts.weights.clone();
    let request = args.texts.read(context, vec![Column::new("embedding", Kind::Numbers)])?;
    let name = request.model.as_deref().unwrap_or(model::DEFAULT_ENCODER);
    let pooling = args.pooling.map(|pooling| match pooling {
        PoolingArg::Mean => Pooling::Mean,
        PoolingArg::Cls => Pooling::Cls,
        PoolingArg::Last => Pooling::Last,
    });
    let scaling = if args.normalize { Scaling::Unit } else { Scaling::Raw };
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        let mut embedding = Embedding { encoder, pooling, scaling };
        match request.texts {
            Texts::Given(texts) => embedding.print_all(context, &texts, &interrupt).await,
            Texts::Rows(rows) => rows.run(context, &mut embedding, &interrupt).await,
        }
    })
}

/// An encoder, and how its vectors are made.
struct Embedding {
    encoder: TextEncoder,
    pooling: Option<Pooling>,
    scaling: Scaling,
}

impl Embedding {
    async fn print_all(&mut self, context: &Context, texts: &[String], interrupt: &Interrupt) -> anyhow::Result<()> {
        self.encoder.set_cancel(interrupt.arm());
        let bar = Bar::new(context);
        for (batch, chunk) in texts.chunks(TEXTS_PER_BATCH).enumerate() {
            let first = batch * TEXTS_PER_BATCH;
            bar.count("Embedding", first as u64, texts.len() as u64);
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for (i, embedding) in self.encoder.embed(&chunk, self.pooling, self.scaling).await?.iter().enumerate() {
                print(context, Embedded { index: first + i, embedding })?;
            }
        }
        Ok(())
    }
}

impl Task for Embedding {
    const DOING: &'static str = "Embedding";

    async fn run(&mut self, texts: &[&str]) -> trice::Result<Vec<Vec<Cell>>> {
        let vectors = self.encoder.embed(texts, self.pooling, self.scaling).await?;
        Ok(vectors.into_iter().map(|vector| vec![Cell::Numbers(vector)]).collect())
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.encoder.set_cancel(cancel);
    }
}

fn print(context: &Context, embedded: Embedded<'_>) -> anyhow::Result<()> {
    match context.output {
        Output::Json => context.print_json(&embedded),
        Output::Text => {
            let numbers: Vec<String> = embedded.embedding.iter().map(ToString::to_string).collect();
            context.print(&numbers.join(" "))
        }
    }
}
