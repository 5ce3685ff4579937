//! `trice embed`: one vector per text.

use super::args::{EmbedArgs, PoolingArg};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use super::texts::TEXTS_PER_BATCH;
use serde::Serialize;
use trice::tasks::{Pooling, Scaling};

/// One line of `embed --json`.
#[derive(Serialize)]
struct Embedded<'a> {
    /// Which text, counted from 0.
    index: usize,
    embedding: &'a [f32],
}

pub(crate) fn run(context: &Context, args: EmbedArgs) -> anyhow::Result<()> {
    let weights = args.texts.weights.clone();
    let request = args.texts.read()?;
    let name = request.model.as_deref().unwrap_or(model::DEFAULT_ENCODER);
    let pooling = args.pooling.map(|pooling| match pooling {
        PoolingArg::Mean => Pooling::Mean,
        PoolingArg::Cls => Pooling::Cls,
        PoolingArg::Last => Pooling::Last,
    });
    let scaling = if args.normalize { Scaling::Unit } else { Scaling::Raw };
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        let bar = Bar::new(context);
        for (batch, chunk) in request.texts.chunks(TEXTS_PER_BATCH).enumerate() {
            let first = batch * TEXTS_PER_BATCH;
            bar.count("Embedding", first as u64, request.texts.len() as u64);
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for (i, embedding) in encoder.embed(&chunk, pooling, scaling).await?.iter().enumerate() {
                print(context, Embedded { index: first + i, embedding })?;
            }
        }
        Ok(())
    })
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
