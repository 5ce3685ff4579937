//! `trice tag`: named entities of texts.

use super::args::{AggregationArg, TagArgs};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::notes::Notes;
use super::progress::Bar;
use super::texts::TEXTS_PER_BATCH;
use serde::Serialize;
use trice::tasks::{Aggregation, Entity, TagOptions, Tagged, Unit};

/// One line of `tag --json`.
#[derive(Serialize)]
struct Line<'a> {
    /// Which text, counted from 0.
    index: usize,
    #[serde(flatten)]
    tagged: &'a Tagged,
}

pub(crate) fn run(context: &Context, args: TagArgs) -> anyhow::Result<()> {
    let options = TagOptions {
        aggregation: args.aggregation.into(),
        long: args.long.into(),
        stride: args.stride,
        unit: Unit::Characters,
    };
    let weights = args.texts.weights.clone();
    let request = args.texts.read()?;
    let name = request.named_model("one that tags")?;
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        let (bar, mut notes) = (Bar::new(context), Notes::default());
        for (batch, chunk) in request.texts.chunks(TEXTS_PER_BATCH).enumerate() {
            let first = batch * TEXTS_PER_BATCH;
            bar.count("Tagging", first as u64, request.texts.len() as u64);
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for (i, tagged) in encoder.tag(&chunk, &options).await?.iter().enumerate() {
                notes.add(first + i, &tagged.reading);
                match context.output {
                    Output::Json => context.print_json(&Line { index: first + i, tagged })?,
                    Output::Text => print_text(context, chunk[i], &tagged.entities, request.texts.len())?,
                }
            }
        }
        notes.say(context);
        Ok(())
    })
}

impl From<AggregationArg> for Aggregation {
    fn from(arg: AggregationArg) -> Self {
        match arg {
            AggregationArg::None => Self::None,
            AggregationArg::Simple => Self::Simple,
            AggregationArg::First => Self::First,
            AggregationArg::Average => Self::Average,
            AggregationArg::Max => Self::Max,
        }
    }
}

/// The entities below each other as they stand in the text, under it where there are several texts.
fn print_text(context: &Context, text: &str, entities: &[Entity], n_texts: usize) -> anyhow::Result<()> {
    if n_texts > 1 {
        context.print(text)?;
    }
    for entity in entities {
        let class = entity.entity_group.as_deref().or(entity.entity.as_deref()).unwrap_or_default();
        let found: String = text.chars().skip(entity.start).take(entity.end - entity.start).collect();
        let (score, start, end) = (entity.score, entity.start, entity.end);
        context.print(&format!("  {score:.4}  {class}  {found}  ({start}..{end})"))?;
    }
    Ok(())
}
