//! `trice bench`: tokens per second, and what share of the device's bandwidth that is.

use super::args::{BenchArgs, LoadArgs};
use super::context::{Context, Output};
use super::devices::{roof_share, roofs_line};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use trice::measure::{BenchOptions, BenchReport, bench_decoder, bench_encoder};
use trice::model::config::Kind;

/// Prompt tokens that are timed when nobody says how many, where the context holds twice as many.
const PROMPT_TOKENS: usize = 512;

pub(crate) fn run(context: &Context, args: &BenchArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let name = args.model.as_deref().unwrap_or(model::DEFAULT_DECODER);
    let report = pollster::block_on(bench(context, name, args, &interrupt))?;
    match context.output {
        Output::Json => context.print_json(&report),
        Output::Text => print(context, &report),
    }
}

async fn bench(context: &Context, name: &str, args: &BenchArgs, interrupt: &Interrupt) -> anyhow::Result<BenchReport> {
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
            Ok(bench_decoder(&mut session, &options, &mut on_run).await?)
        }
        Kind::Encoder => {
            let mut encoder = model::load_encoder(context, name, &args.load.weights, interrupt).await?;
            interrupt.disarm();
            let options = options(2 * encoder.info().context_len);
            Ok(bench_encoder(&mut encoder, &options, &mut on_run).await?)
        }
    }
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
