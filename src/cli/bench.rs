//! `trice bench`: tokens per second, and what share of the device's bandwidth that is.

use super::args::{BenchArgs, LoadArgs};
use super::context::{Context, Output, human_bytes};
use super::devices::{roof_share, roofs_line};
use super::interrupt::Interrupt;
use super::model;
use super::perplexity::{measure, split};
use super::progress::Bar;
use super::texts::read_file;
use serde::Serialize;
use trice::measure::{BenchOptions, BenchReport, bench_decoder, bench_encoder};
use trice::model::config::Kind;
use trice::session::ModelInfo;

/// Prompt tokens that are timed when nobody says how many, where the context holds twice as many.
const PROMPT_TOKENS: usize = 512;

/// What `bench --json` prints, a line per model.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    report: BenchReport,
    n_params: u64,
    /// Bytes of weights on the GPU.
    weight_bytes: u64,
    /// On the text of `--file`.
    perplexity: Option<f64>,
}

impl Measured {
    fn new(report: BenchReport, info: &ModelInfo, perplexity: Option<f64>) -> Self {
        Self { report, n_params: info.n_params, weight_bytes: info.weight_bytes, perplexity }
    }
}

pub(crate) fn run(context: &Context, args: &BenchArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let default = [model::DEFAULT_DECODER.to_owned()];
    let names = if args.models.is_empty() { &default[..] } else { &args.models };
    let text = args.file.as_deref().map(read_file).transpose()?;
    let documents = text.as_deref().map(|text| split(text, args.separator.as_deref(), usize::MAX));
    let mut all = Vec::new();
    for name in names {
        let measured = pollster::block_on(bench(context, name, args, documents.as_deref(), &interrupt))?;
        match context.output {
            Output::Json => context.print_json(&measured)?,
            Output::Text => print(context, &measured.report)?,
        }
        all.push(measured);
    }
    if context.output == Output::Text && (all.len() > 1 || documents.is_some()) {
        compare(context, &all)?;
    }
    Ok(())
}

async fn bench(
    context: &Context,
    name: &str,
    args: &BenchArgs,
    documents: Option<&[&str]>,
    interrupt: &Interrupt,
) -> anyhow::Result<Measured> {
    let options = |context_len: usize| BenchOptions {
        n_prompt: args.prompt_tokens.map_or(PROMPT_TOKENS.min(context_len / 2), |n| n as usize),
        n_generate: args.tokens as usize,
        n_batch: args.batch as usize,
        repetitions: args.repeat as usize,
    };
    let bar = Bar::new(context);
    let mut on_run = |done: usize, total: usize| bar.count("Measuring", done as u64, total as u64);
    match model::kind_of(context, name).await? {
        Kind::Decoder => {
            let load = LoadArgs { parallel: args.batch as usize, ..args.load.clone() };
            let mut session = model::load_speculating(context, name, &load, &args.speculate, interrupt).await?;
            interrupt.disarm();
            let options = options(session.info().context_len);
            let report = bench_decoder(&mut session, &options, &mut on_run).await?;
            let perplexity = match documents {
                Some(documents) => Some(measure(context, &mut session, documents, None, interrupt).await?.perplexity),
                None => None,
            };
            Ok(Measured::new(report, session.info(), perplexity))
        }
        Kind::Encoder => {
            let mut encoder = model::load_encoder(context, name, &args.load.weights, interrupt).await?;
            interrupt.disarm();
            let options = options(2 * encoder.info().context_len);
            let report = bench_encoder(&mut encoder, &options, &mut on_run).await?;
            Ok(Measured::new(report, encoder.info(), None))
        }
    }
}

/// The models side by side: what they take, how fast they are, how well they predict.
fn compare(context: &Context, all: &[Measured]) -> anyhow::Result<()> {
    let width = all.iter().map(|one| one.report.model.len()).max().unwrap_or(0);
    context.print(&format!("\n{:<width$}  {:>11}  bits/weight  perplexity  median tokens/s", "model", "weights"))?;
    for Measured { report, n_params, weight_bytes, perplexity } in all {
        let bits = 8.0 * *weight_bytes as f64 / (*n_params).max(1) as f64;
        let perplexity = perplexity.map_or("-".to_owned(), |perplexity| format!("{perplexity:.4}"));
        let rates = report.tests.iter().map(|test| format!("{} {:.1}", test.name, test.tokens_per_s.median));
        let (bytes, rates) = (human_bytes(*weight_bytes), rates.collect::<Vec<_>>().join(", "));
        let model = &report.model;
        context.print(&format!("{model:<width$}  {bytes:>11}  {bits:>11.2}  {perplexity:>10}  {rates}"))?;
    }
    Ok(())
}

fn print(context: &Context, report: &BenchReport) -> anyhow::Result<()> {
    context.print(&format!("{} on {} ({})", report.model, report.device, report.backend))?;
    context.print(&format!("roofs: {}", roofs_line(&report.roofs)))?;
    context.print("test     tokens/s (min..max)            MFLOP/token  MB/token  GFLOP/s    GB/s      of roof")?;
    let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for test in &report.tests {
        let rate = test.tokens_per_s;
        let range = format!("{:.1} ({:.1}..{:.1})", rate.median, rate.min, rate.max);
        let (mflop, mbyte) = (test.flops_per_token / 1e6, test.bytes_per_token / 1e6);
        let (gflops, gbytes) = (number(Some(test.gflops), 2), number(test.gbytes_per_s, 2));
        let roof = roof_share(test.roof, test.roof_fraction);
        context.print(&format!(
            "{:<8} {range:<30} {mflop:>11.1} {mbyte:>9.2} {gflops:>8} {gbytes:>7} {roof:>12}",
            test.name
        ))?;
        if let Some(dispatches) = test.dispatches_per_token {
            let (submits, read_backs) = (number(test.submits_per_token, 2), number(test.read_backs_per_token, 2));
            let per_token = format!("{dispatches} dispatches, {submits} submits, {read_backs} read-backs");
            context.print(&format!("         per token: {per_token}"))?;
        }
        if let (Some(right), Some(all @ 1..)) = (test.accepted_tokens, test.drafted_tokens) {
            context.print(&format!("         {right} of {all} guesses right"))?;
        }
    }
    Ok(())
}
