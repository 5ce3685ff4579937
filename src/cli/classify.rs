//! `trice classify`: labels with scores for texts.

use super::args::{ClassifyArgs, LoadArgs};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::progress::Bar;
use super::texts::TEXTS_PER_BATCH;
use super::{Usage, classify_by_decoder, model};
use serde::Serialize;
use std::path::Path;
use trice::format::Checkpoint;
use trice::model::config::Kind;
use trice::tasks::{ClassifyOptions, LabelScore, TextEncoder};

/// One line of `classify --json`.
#[derive(Serialize)]
pub(crate) struct Classified<'a> {
    /// Which text, counted from 0.
    pub(crate) index: usize,
    /// Best first.
    pub(crate) labels: &'a [LabelScore],
}

pub(crate) fn run(context: &Context, args: ClassifyArgs) -> anyhow::Result<()> {
    let options = ClassifyOptions {
        labels: own_labels(&args.labels)?,
        template: checked_template(args.template)?,
        multi_label: args.multi_label,
    };
    let weights = args.texts.weights.clone();
    let request = args.texts.read()?;
    let name = request.model.as_deref().unwrap_or(model::DEFAULT_ENCODER);
    let interrupt = Interrupt::install()?;
    let top = args.top.map_or(usize::MAX, |k| k as usize);
    pollster::block_on(async {
        if !options.labels.is_empty() && model::kind_of(context, name).await? == Kind::Decoder {
            let load = LoadArgs::of_weights(weights);
            return classify_by_decoder::run(context, name, &load, &request.texts, &options, top, &interrupt).await;
        }
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        if let Some(head) = &args.head {
            encoder.load_head(&open_head(head).await?).await?;
        }
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
    let bar = Bar::new(context);
    for (batch, chunk) in texts.chunks(TEXTS_PER_BATCH).enumerate() {
        let first = batch * TEXTS_PER_BATCH;
        bar.count("Classifying", first as u64, texts.len() as u64);
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let results = encoder.classify(&chunk, options).await?;
        for (i, (text, labels)) in chunk.iter().zip(&results).enumerate() {
            let labels = &labels[..labels.len().min(top)];
            match context.output {
                Output::Json => context.print_json(&Classified { index: first + i, labels })?,
                Output::Text => print_text(context, text, labels, texts.len())?,
            }
        }
    }
    Ok(())
}

/// The labels below each other, under their text where there are several texts.
pub(crate) fn print_text(context: &Context, text: &str, labels: &[LabelScore], n_texts: usize) -> anyhow::Result<()> {
    if n_texts > 1 {
        context.print(text)?;
    }
    for LabelScore { label, score } in labels {
        context.print(&format!("  {score:.4}  {label}"))?;
    }
    Ok(())
}
