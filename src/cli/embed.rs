//! `trice embed`: one vector per text.

use super::args::{EmbedArgs, PoolingArg};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::notes::Notes;
use super::progress::Bar;
use super::texts::TEXTS_PER_BATCH;
use serde::Serialize;
use trice::tasks::{EmbedOptions, Embedded, Pooling};

/// One line of `embed --json`.
#[derive(Serialize)]
struct Line<'a> {
    /// Which text, counted from 0.
    index: usize,
    #[serde(flatten)]
    embedded: &'a Embedded,
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
    let options = EmbedOptions { pooling, normalize: args.normalize, long: args.long.into() };
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        let (bar, mut notes) = (Bar::new(context), Notes::default());
        for (batch, chunk) in request.texts.chunks(TEXTS_PER_BATCH).enumerate() {
            let first = batch * TEXTS_PER_BATCH;
            bar.count("Embedding", first as u64, request.texts.len() as u64);
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for (i, embedded) in encoder.embed_texts(&chunk, &options).await?.iter().enumerate() {
                notes.add(first + i, &embedded.reading);
                print(context, &Line { index: first + i, embedded })?;
            }
        }
        notes.say(context);
        Ok(())
    })
}

fn print(context: &Context, line: &Line<'_>) -> anyhow::Result<()> {
    match context.output {
        Output::Json => context.print_json(line),
        Output::Text => {
            let numbers: Vec<String> = line.embedded.embedding.iter().map(ToString::to_string).collect();
            context.print(&numbers.join(" "))
        }
    }
}
