//! `trice tag`: named entities of texts.

use super::args::{AggregationArg, TagArgs};
use super::context::Context;
use super::interrupt::Interrupt;
use super::model;
use super::per_text::{self, PerText};
use trice::rows::{Cell, Column, Kind};
use trice::session::Cancel;
use trice::tasks::{Aggregation, Entity, Reading, TagOptions, Tagged, TextEncoder, Unit};

pub(crate) fn run(context: &Context, args: TagArgs) -> anyhow::Result<()> {
    let options = TagOptions {
        aggregation: args.aggregation.into(),
        long: args.long.into(),
        stride: args.stride,
        unit: Unit::Characters,
    };
    let weights = args.texts.weights.clone();
    let request = args.texts.read(context, vec![Column::new("entities", Kind::Json)])?;
    let name = request.named_model("one that tags")?.to_owned();
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let encoder = model::load_encoder(context, &name, &weights, &interrupt).await?;
        per_text::run(context, Tagging { encoder, options }, request.texts, &interrupt).await
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

/// An encoder, and how entities are made of what it finds.
struct Tagging {
    encoder: TextEncoder,
    options: TagOptions,
}

impl PerText for Tagging {
    const DOING: &'static str = "Tagging";

    type Result = Tagged;

    async fn results(&mut self, texts: &[&str]) -> trice::Result<Vec<Tagged>> {
        self.encoder.tag(texts, &self.options).await
    }

    fn reading(tagged: &Tagged) -> Option<&Reading> {
        Some(&tagged.reading)
    }

    fn cells(&self, tagged: Tagged) -> trice::Result<Vec<Cell>> {
        Ok(vec![Cell::json(&tagged.entities)?])
    }

    /// The entities below each other as they stand in the text.
    fn lines(&self, text: &str, tagged: &Tagged) -> Vec<String> {
        let line = |entity: &Entity| {
            let class = entity.entity_group.as_deref().or(entity.entity.as_deref()).unwrap_or_default();
            let found: String = text.chars().skip(entity.start).take(entity.end - entity.start).collect();
            let (score, start, end) = (entity.score, entity.start, entity.end);
            format!("  {score:.4}  {class}  {found}  ({start}..{end})")
        };
        tagged.entities.iter().map(line).collect()
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.encoder.set_cancel(cancel);
    }
}
