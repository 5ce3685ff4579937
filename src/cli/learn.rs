//! `trice classify --train` and `--test`: a head learnt from labelled texts, and how often labels are right.

use super::args::{ClassifyArgs, LoadArgs, RowsArgs};
use super::classify::{ByEncoder, ByLikelihood, Judge, open_head, usual_model};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::progress::Bar;
use super::texts::{TEXTS_PER_BATCH, split_model};
use super::{Usage, model};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trice::hub::write_file;
use trice::model::config::Kind as ModelKind;
use trice::rows::Wanted;
use trice::tasks::choices::LikelihoodClassifier;
use trice::tasks::{ClassifyOptions, TextEncoder};

pub(super) fn run(context: &Context, args: ClassifyArgs, options: ClassifyOptions) -> anyhow::Result<()> {
    let usage = |what: &str| anyhow::Error::from(Usage(what.to_owned()));
    let (named, words) = split_model(args.texts.words);
    if !words.is_empty() || args.texts.rows.file.is_some() {
        return Err(usage("--train and --test have their own texts: no others are taken beside them"));
    }
    let (rows, label_column) = (args.texts.rows, args.label_column.as_deref());
    let out = match (&args.train, &rows.output) {
        (Some(_), None) => return Err(usage("--train: name the file for the head with -o HEAD.safetensors")),
        (Some(_), Some(out)) if out.exists() => return Err(usage(&format!("{} is there already", out.display()))),
        (None, Some(_)) => return Err(usage("-o is for the head of --train")),
        (_, out) => out.clone(),
    };
    let read = |file: PathBuf| Examples::read(context, file, &rows, label_column);
    let train = args.train.map(read).transpose()?;
    let test = args.test.map(read).transpose()?;
    let takes_vectors = train.is_some() || args.head.is_some() || !options.labels.is_empty();
    let name = named.as_deref().unwrap_or(usual_model(takes_vectors));
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        // Labels that the caller names may be judged by a model that writes text.
        if let Some(test) = test.as_ref().filter(|_| !options.labels.is_empty())
            && model::kind_of(context, name).await? == ModelKind::Decoder
        {
            let load = LoadArgs::of_weights(args.texts.weights);
            let mut session = model::load_session(context, name, &load, &interrupt).await?;
            let judge = LikelihoodClassifier::new(&mut session, &options).await?;
            return examine(context, &mut ByLikelihood { judge, cancel: interrupt.arm() }, test, &interrupt).await;
        }
        let mut encoder = model::load_encoder(context, name, &args.texts.weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        if let (Some(examples), Some(out)) = (&train, &out) {
            learn(context, &mut encoder, examples, out).await?;
        }
        if let Some(head) = args.head.as_ref().or(out.as_ref()) {
            encoder.load_head(&open_head(head).await?).await?;
        }
        match &test {
            Some(test) => examine(context, &mut ByEncoder { encoder, options }, test, &interrupt).await,
            None => Ok(()),
        }
    })
}

/// Labelled texts of a file.
struct Examples {
    file: PathBuf,
    texts: Vec<String>,
    labels: Vec<String>,
}

impl Examples {
    /// Rows that lack a text or a label are left out, which is said.
    fn read(context: &Context, file: PathBuf, rows: &RowsArgs, label_column: Option<&str>) -> anyhow::Result<Self> {
        if file.as_os_str() == "-" {
            return Err(Usage("--train and --test read files, not stdin".to_owned()).into());
        }
        let RowsArgs { format, column, no_header, .. } = rows;
        let file_rows = RowsArgs {
            file: Some(file.clone()),
            format: *format,
            column: column.clone(),
            no_header: *no_header,
            output: None,
            resume: false,
        };
        let texts = file_rows.read_column(Wanted::texts(column.as_deref()))?;
        let labels = file_rows.read_column(Wanted::labels(label_column))?;
        let mut this = Self { file, texts: Vec::new(), labels: Vec::new() };
        let (mut n_bad, mut first_bad) = (0, None);
        for (i, row) in texts.into_iter().zip(labels).enumerate() {
            match row {
                (Ok(text), Ok(label)) => {
                    this.texts.push(text);
                    this.labels.push(label.trim().to_owned());
                }
                (Err(reason), _) | (_, Err(reason)) => {
                    n_bad += 1;
                    first_bad.get_or_insert((i + 1, reason));
                }
            }
        }
        let name = this.file.display();
        if let Some((row, reason)) = first_bad {
            context.note(&format!("{name}: {n_bad} rows are left out; the first is row {row}: {reason}"));
        }
        if this.texts.is_empty() {
            return Err(trice::Error::invalid(format!("{name}: no row has a text and a label")).into());
        }
        Ok(this)
    }

    fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }
}

/// What `--train --json` prints.
#[derive(Serialize)]
struct Learnt<'a> {
    head: &'a Path,
    labels: usize,
    examples: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<HeldOut>,
    seconds: f64,
}

#[derive(Serialize)]
struct HeldOut {
    examples: usize,
    right: usize,
    accuracy: f64,
}

async fn learn(context: &Context, encoder: &mut TextEncoder, examples: &Examples, out: &Path) -> anyhow::Result<()> {
    let (start, bar, n) = (Instant::now(), Bar::new(context), examples.texts.len());
    let labels: Vec<&str> = examples.labels.iter().map(String::as_str).collect();
    let texts = examples.texts();
    let mut on_text = |done: usize| bar.count("Reading examples", done as u64, n as u64);
    let head = encoder.learn_head(&texts, &labels, &mut on_text).await?;
    drop(bar);
    write_file(out, &head.to_safetensors()?)?;
    let held_out =
        head.held_out.map(|(examples, right)| HeldOut { examples, right, accuracy: right as f64 / examples as f64 });
    let (n_labels, seconds) = (head.labels.len(), start.elapsed().as_secs_f64());
    match context.output {
        Output::Json => {
            context.print_json(&Learnt { head: out, labels: n_labels, examples: n, held_out, seconds })?;
        }
        Output::Text => {
            context.print(&format!("{}: {n_labels} labels of {n} examples, {seconds:.1} s", out.display()))?;
            if let Some(HeldOut { examples, right, accuracy }) = held_out {
                let share = 100.0 * accuracy;
                context.print(&format!("  {share:.1} % ({right} of {examples}) held out while learning are right"))?;
            }
        }
    }
    Ok(())
}

/// What `--test --json` prints.
#[derive(Serialize)]
struct Examined<'a> {
    test: &'a Path,
    examples: usize,
    right: usize,
    accuracy: f64,
    macro_f1: f64,
}

/// Labels the examples and counts how many labels are theirs.
async fn examine(
    context: &Context,
    judge: &mut impl Judge,
    test: &Examples,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    judge.set_cancel(interrupt.arm());
    let (bar, texts, mut found) = (Bar::new(context), test.texts(), Vec::new());
    for chunk in texts.chunks(TEXTS_PER_BATCH) {
        bar.count("Classifying", found.len() as u64, texts.len() as u64);
        let classified = judge.judge(chunk).await?;
        found.extend(classified.into_iter().map(|text| text.labels.into_iter().next().map(|best| best.label)));
    }
    drop(bar);
    let found: Vec<String> = found.into_iter().map(Option::unwrap_or_default).collect();
    let right = found.iter().zip(&test.labels).filter(|(found, wanted)| found == wanted).count();
    let (examples, macro_f1) = (found.len(), macro_f1(&found, &test.labels));
    let accuracy = right as f64 / examples as f64;
    match context.output {
        Output::Json => context.print_json(&Examined { test: &test.file, examples, right, accuracy, macro_f1 }),
        Output::Text => {
            let (name, share) = (test.file.display(), 100.0 * accuracy);
            context.print(&format!("{name}: {share:.2} % right ({right} of {examples}), macro F1 {macro_f1:.4}"))
        }
    }
}

/// The mean of the labels' F1, of those that are wanted.
fn macro_f1(found: &[String], wanted: &[String]) -> f64 {
    // Of each label: how often it is found, wanted, and both.
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (found, wanted) in found.iter().zip(wanted) {
        counts.entry(found).or_default()[0] += 1;
        counts.entry(wanted).or_default()[1] += 1;
        counts.entry(wanted).or_default()[2] += usize::from(found == wanted);
    }
    let wanted = counts.values().filter(|[_, wanted, _]| *wanted > 0);
    let f1s: Vec<f64> = wanted.map(|[found, wanted, both]| 2.0 * *both as f64 / (found + wanted) as f64).collect();
    f1s.iter().sum::<f64>() / f1s.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wanted_label_counts_the_same() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wanted = names(&["a", "a", "a", "b"]);
        assert!((macro_f1(&wanted, &wanted) - 1.0).abs() < 1e-12);
        // a: found 4, wanted 3, both 3; b: never found.
        assert!((macro_f1(&names(&["a"; 4]), &wanted) - 3.0 / 7.0).abs() < 1e-12);
        // c is not wanted, and so no label of the mean.
        assert!((macro_f1(&names(&["a", "a", "c", "b"]), &wanted) - (0.8 + 1.0) / 2.0).abs() < 1e-12);
    }
}
