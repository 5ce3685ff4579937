//! `trice classify`: labels with scores for texts.

use super::args::{ClassifyArgs, LoadArgs};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::per_text::{self, PerText};
use super::{Usage, learn, model};
use std::path::Path;
use trice::format::Checkpoint;
use trice::model::config::Kind as ModelKind;
use trice::rows::{Cell, Column, Kind, label_cells, label_columns};
use trice::session::Cancel;
use trice::tasks::choices::LikelihoodClassifier;
use trice::tasks::{Classified, ClassifyOptions, Explain, Explanation, LabelScore, Reading, TextEncoder};

pub(crate) fn run(context: &Context, args: ClassifyArgs) -> anyhow::Result<()> {
    let options = ClassifyOptions {
        labels: own_labels(&args.labels)?,
        template: checked_template(args.template.as_deref())?,
        multi_label: args.multi_label,
        long: args.long.into(),
        explain: args
            .explain
            .clone()
            .map(|label| Explain { label: Some(label).filter(|label| !label.is_empty()), ..Explain::default() }),
    };
    if args.train.is_some() || args.test.is_some() {
        return learn::run(context, args, options);
    }
    let weights = args.texts.weights.clone();
    // A table gets the best label by itself; all that --json prints of a row are its labels.
    let lists = Lists {
        best: context.output == Output::Text,
        all: context.output == Output::Json || args.multi_label || args.top.is_some_and(|k| k > 1),
        explanation: args.explain.is_some(),
    };
    let request = args.texts.read(context, lists.columns())?;
    let takes_vectors = !options.labels.is_empty() || args.head.is_some();
    let name = request.model.as_deref().unwrap_or(usual_model(takes_vectors));
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let top = args.top.map_or(usize::MAX, |k| k as usize);
        if !options.labels.is_empty() && model::kind_of(context, name).await? == ModelKind::Decoder {
            let load = LoadArgs::of_weights(weights);
            let mut session = model::load_session(context, name, &load, &interrupt).await?;
            let judge = LikelihoodClassifier::new(&mut session, &options).await?;
            let judge = ByLikelihood { judge, cancel: Cancel::default() };
            return per_text::run(context, Labelling { judge, top, lists }, request.texts, &interrupt).await;
        }
        let mut encoder = model::load_encoder(context, name, &weights, &interrupt).await?;
        if let Some(head) = &args.head {
            encoder.load_head(&open_head(head).await?).await?;
        }
        let judge = ByEncoder { encoder, options };
        per_text::run(context, Labelling { judge, top, lists }, request.texts, &interrupt).await
    })
}

/// The model when none is named: a classifier where its own labels are wanted.
pub(super) fn usual_model(takes_vectors: bool) -> &'static str {
    if takes_vectors { model::DEFAULT_EMBEDDER } else { model::DEFAULT_CLASSIFIER }
}

/// What gives texts their labels.
pub(super) trait Judge {
    /// The labels of each text, best first.
    async fn judge(&mut self, texts: &[&str]) -> trice::Result<Vec<Classified>>;

    /// What stops `judge` from now on.
    fn set_cancel(&mut self, cancel: Cancel);
}

/// A head, or likeness to own labels.
pub(super) struct ByEncoder {
    pub(super) encoder: TextEncoder,
    pub(super) options: ClassifyOptions,
}

impl Judge for ByEncoder {
    async fn judge(&mut self, texts: &[&str]) -> trice::Result<Vec<Classified>> {
        self.encoder.classify(texts, &self.options).await
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.encoder.set_cancel(cancel);
    }
}

/// A model that writes text: its labels are those it finds likelier behind a text than anyway.
pub(super) struct ByLikelihood<'s> {
    pub(super) judge: LikelihoodClassifier<'s>,
    pub(super) cancel: Cancel,
}

impl Judge for ByLikelihood<'_> {
    async fn judge(&mut self, texts: &[&str]) -> trice::Result<Vec<Classified>> {
        self.judge.classify_all(texts, &self.cancel).await
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.cancel = cancel;
    }
}

/// Which columns of labels a table gets.
#[derive(Clone, Copy)]
struct Lists {
    /// `label` and `score`.
    best: bool,
    /// `labels`, best first.
    all: bool,
    explanation: bool,
}

impl Lists {
    fn columns(self) -> Vec<Column> {
        let mut columns = if self.best { label_columns() } else { Vec::new() };
        columns.extend(self.all.then(|| Column::new("labels", Kind::Json)));
        columns.extend(self.explanation.then(|| Column::new("explanation", Kind::Json)));
        columns
    }

    fn cells(self, classified: &Classified) -> trice::Result<Vec<Cell>> {
        let mut cells = Vec::new();
        if let Some(best) = classified.labels.first().filter(|_| self.best) {
            cells.extend(label_cells(best.label.clone(), best.score));
        }
        if self.all {
            cells.push(Cell::json(&classified.labels)?);
        }
        if self.explanation {
            cells.push(Cell::json(&classified.explanation)?);
        }
        Ok(cells)
    }
}

/// What fills those columns.
struct Labelling<J> {
    judge: J,
    top: usize,
    lists: Lists,
}

impl<J: Judge> PerText for Labelling<J> {
    const DOING: &'static str = "Classifying";

    type Result = Classified;

    async fn results(&mut self, texts: &[&str]) -> trice::Result<Vec<Classified>> {
        let mut results = self.judge.judge(texts).await?;
        results.iter_mut().for_each(|classified| classified.labels.truncate(self.top));
        Ok(results)
    }

    fn reading(classified: &Classified) -> Option<&Reading> {
        Some(&classified.reading)
    }

    fn cells(&self, classified: Classified) -> trice::Result<Vec<Cell>> {
        self.lists.cells(&classified)
    }

    fn lines(&self, _text: &str, classified: &Classified) -> Vec<String> {
        let labels = classified.labels.iter().map(|LabelScore { label, score }| format!("  {score:.4}  {label}"));
        labels.chain(classified.explanation.iter().flat_map(strongest)).collect()
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.judge.set_cancel(cancel);
    }
}

/// Words that an explanation prints: those that weigh most.
const MAX_WORDS: usize = 10;

fn strongest(explanation: &Explanation) -> Vec<String> {
    let mut words: Vec<_> = explanation.words.iter().collect();
    words.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
    let head = format!("  what words add to {}:", explanation.label);
    let lines = words.iter().take(MAX_WORDS).map(|word| format!("  {:+.4}  {}", word.score, word.word));
    std::iter::once(head).chain(lines).collect()
}

/// The labels given, without the space around commas.
fn own_labels(given: &[String]) -> anyhow::Result<Vec<String>> {
    let labels: Vec<String> = given.iter().map(|label| label.trim().to_string()).collect();
    if labels.iter().any(String::is_empty) {
        return Err(Usage("--labels holds an empty label".to_string()).into());
    }
    Ok(labels)
}

fn checked_template(template: Option<&str>) -> anyhow::Result<Option<String>> {
    match template {
        Some(template) if !template.contains("{}") => {
            Err(Usage(format!("--template must hold {{}} where the label goes, not {template:?}")).into())
        }
        template => Ok(template.map(str::to_owned)),
    }
}

pub(super) async fn open_head(path: &Path) -> trice::Result<Checkpoint> {
    model::open_checkpoint(&path.display().to_string(), &mut |_| {}).await
}
