//! `trice rerank`: texts in the order in which they answer a query.

use super::args::RerankArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::notes::Notes;
use super::texts::read_lines;

pub(crate) fn run(context: &Context, args: RerankArgs) -> anyhow::Result<()> {
    let (model, texts) = read_lines(args.words, args.file)?;
    let name = model.as_deref().unwrap_or(model::DEFAULT_EMBEDDER);
    let top = args.top.map_or(usize::MAX, |k| k as usize);
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, name, &args.weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut notes = Notes::default();
        for ranked in encoder.rank(&args.query, &texts).await?.iter().take(top) {
            notes.add(&ranked.reading);
            match context.output {
                Output::Json => context.print_json(ranked)?,
                Output::Text => context.print(&format!("  {:.4}  {}", ranked.score, texts[ranked.index]))?,
            }
        }
        notes.say(context);
        Ok(())
    })
}
