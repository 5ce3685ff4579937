//! `trice classify` with a model that writes text: its labels are those it finds likelier behind a text than anyway.

use super::args::LoadArgs;
use super::classify::{Classified, print_text};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use trice::tasks::ClassifyOptions;
use trice::tasks::choices::LikelihoodClassifier;

pub(crate) async fn run(
    context: &Context,
    name: &str,
    load: &LoadArgs,
    texts: &[String],
    options: &ClassifyOptions,
    top: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut session = model::load_session(context, name, load, interrupt).await?;
    let mut classifier = LikelihoodClassifier::new(&mut session, options).await?;
    let (cancel, bar) = (interrupt.arm(), Bar::new(context));
    for (index, text) in texts.iter().enumerate() {
        cancel.check()?;
        bar.count("Classifying", index as u64, texts.len() as u64);
        let labels = classifier.classify(text).await?;
        let labels = &labels[..labels.len().min(top)];
        match context.output {
            Output::Json => context.print_json(&Classified { index, labels })?,
            Output::Text => print_text(context, text, labels, texts.len())?,
        }
    }
    Ok(())
}
