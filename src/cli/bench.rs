//! `trice bench`: tokens per second, and how much of the device's bandwidth that is.

use super::args::BenchArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use trice::measure::{BenchOptions, BenchReport, BenchTest, bench_decoder, bench_encoder};
use trice::model::config::{self, Kind};
use trice::session::{LoadOptions, Session};
use trice::tasks::TextEncoder;

pub(crate) fn run(context: &Context, args: &BenchArgs) -> anyhow::Result<()> {
    let name = args.model.as_deref().unwrap_or(model::DEFAULT_DECODER);
    let interrupt = Interrupt::install()?;
    let report = pollster::block_on(measure(context, name, args, &interrupt))?;
    match context.output {
        Output::Json => context.print_json(&report),
        Output::Text => print(context, &report),
    }
}

async fn measure(
    context: &Context,
    name: &str,
    args: &BenchArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<BenchReport> {
    let bar = Bar::new(context);
    let (checkpoint, gpu) = model::open_with_gpu(context, name, &bar, None).await?;
    let load = LoadOptions { cancel: interrupt.arm(), ..LoadOptions::default() };
    let mut options = BenchOptions {
        n_prompt: args.prompt_tokens as usize,
        n_generate: args.tokens as usize,
        n_batch: args.batch as usize,
        repetitions: args.repeat as usize,
    };
    let mut on_run = |done: usize, total: usize| bar.count("Measuring", done as u64, total as u64);
    let report = match config::kind(&checkpoint)? {
        Kind::Decoder => {
            let mut session = Session::load(&gpu, &checkpoint, &load, &mut |progress| bar.load(progress)).await?;
            interrupt.disarm();
            fit(context, &mut options, session.info().context_len);
            bench_decoder(&gpu, &mut session, &options, &mut on_run).await?
        }
        Kind::Encoder => {
            let mut encoder = TextEncoder::load(&gpu, &checkpoint, &load, &mut |progress| bar.load(progress)).await?;
            interrupt.disarm();
            bench_encoder(&gpu, &mut encoder, &options, &mut on_run).await?
        }
    };
    Ok(report)
}

/// Cuts the tests to the context, which also holds the first generated token.
fn fit(context: &Context, options: &mut BenchOptions, context_len: usize) {
    let most_prompt = context_len.saturating_sub(1);
    let most_generated = context_len.saturating_sub(2);
    if options.n_prompt > most_prompt || options.n_generate > most_generated {
        options.n_prompt = options.n_prompt.min(most_prompt);
        options.n_generate = options.n_generate.min(most_generated);
        context.note(&format!("note: the tests are cut to the model's context of {context_len} tokens"));
    }
}

fn print(context: &Context, report: &BenchReport) -> anyhow::Result<()> {
    let BenchReport { model, device, backend, read_gbytes_per_s, .. } = report;
    context.print(&format!("{model} on {device} ({backend}), which reads {read_gbytes_per_s:.1} GB/s"))?;
    context.print("test        tokens/s  (least to most)       GFLOP/s    GB/s  of roof  dispatches/token")?;
    for test in &report.tests {
        let BenchTest { name, tokens_per_s: rate, gflops, .. } = test;
        let range = format!("({:.1} to {:.1})", rate.min, rate.max);
        let bytes = shown(test.gbytes_per_s.map(|rate| format!("{rate:.1}")));
        let roof = shown(test.roof_fraction.map(|fraction| format!("{:.0} %", 100.0 * fraction)));
        let dispatches = shown(test.dispatches_per_token);
        context.print(&format!(
            "{name:8} {:11.1}  {range:20} {gflops:8.2} {bytes:>7} {roof:>8}  {dispatches:>16}",
            rate.median
        ))?;
    }
    Ok(())
}

/// What was not measured shows as a dash.
fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Global;

    #[test]
    fn tests_are_cut_to_the_context() {
        let context = Context::new(Global { device: None, json: false, quiet: true });
        let mut options = BenchOptions { n_prompt: 512, n_generate: 128, n_batch: 1, repetitions: 1 };
        fit(&context, &mut options, 512);
        assert_eq!((options.n_prompt, options.n_generate), (511, 128));
    }
}
