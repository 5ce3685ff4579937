//! `trice classify`: labels with scores for texts.

use super::args::ClassifyArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::notes::Notes;
use super::progress::Bar;
use super::texts::TEXTS_PER_BATCH;
use super::{Usage, model};
use serde::Serialize;
use std::path::Path;
use trice::format::Checkpoint;
use trice::tasks::{Classified, ClassifyOptions, LabelScore, TextEncoder};

/// One line of `classify --json`.
#[derive(Serialize)]
struct Line<'a> {
    /// Which text, counted from 0.
    index: usize,
    #[serde(flatten)]
    classified: &'a Classified,
}

pub(crate) fn run(context: &Context, args: ClassifyArgs) -> anyhow::Result<()> {
    let options = ClassifyOptions {
        labels: own_labels(&args.labels)?,
        template: checked_template(args.template)?,
        multi_label: args.multi_label,
        long: args.long.into(),
    };
    let weights = args.texts.weights.clone();
    let request = args.texts.read()?;
    let name = request.model.as_deref().unwrap_or(model::DEFAULT_ENCODER);
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        if let Some(head) = &args.head {
            encoder.load_head(&open_head(head).await?).await?;
        }
        let top = args.top.map_or(usize::MAX, |k| k as usize);
        classify_all(context, &mut encoder, &request.texts, &options, top, &interrupt).await
    })
}

/// The labels given, without the space around commas.
fn own_labels(given: &[String]) -> anyhow::Result<Vec<String>> {
    let labels: Vec<String> = given.iter().map(|label| label.trim().to_string()).collect();
    if labels.iter().any(String::is_empty) {
        return Err(Usage("--labels holds an empty label".to_string()).into());
    }
    Ok(labels)
}

fn checked_template(template: Option<String>) -> anyhow::Result<Option<String>> {
    match template {
        Some(template) if !template.contains("{}") => {
            Err(Usage(format!("--template must hold {{}} where the label goes, not {template:?}")).into())
        }
        template => Ok(template),
    }
}

async fn open_head(path: &Path) -> trice::Result<Checkpoint> {
    model::open_checkpoint(&path.display().to_string(), &mut |_| {}).await
}

async fn classify_all(
    context: &Context,
    encoder: &mut TextEncoder,
    texts: &[String],
    options: &ClassifyOptions,
    top: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    encoder.set_cancel(interrupt.arm());
    let (bar, mut notes) = (Bar::new(context), Notes::default());
    for (batch, chunk) in texts.chunks(TEXTS_PER_BATCH).enumerate() {
        let first = batch * TEXTS_PER_BATCH;
        bar.count("Classifying", first as u64, texts.len() as u64);
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let mut results = encoder.classify(&chunk, options).await?;
        for (i, (text, classified)) in chunk.iter().zip(&mut results).enumerate() {
            classified.labels.truncate(top);
            notes.add(first + i, &classified.reading);
            match context.output {
                Output::Json => context.print_json(&Line { index: first + i, classified })?,
                Output::Text => print_text(context, text, &classified.labels, texts.len())?,
            }
        }
    }
    notes.say(context);
    Ok(())
}

/// The labels below each other, under their text where there are several texts.
fn print_text(context: &Context, text: &str, labels: &[LabelScore], n_texts: usize) -> anyhow::Result<()> {
    if n_texts > 1 {
        context.print(text)?;
    }
    for LabelScore { label, score } in labels {
        context.print(&format!("  {score:.4}  {label}"))?;
    }
    Ok(())
}
