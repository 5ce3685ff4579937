//! `trice profile`: time per kernel, what share of the device's roof that is, and what to look at first.

use super::args::ProfileArgs;
use super::context::{Context, Output};
use super::devices::{roof_share, roofs_line};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use trice::measure::profile::{Clock, KernelTime, Phase};
use trice::measure::{ProfileOptions, ProfileReport, profile_decoder, profile_encoder};
use trice::model::config::Kind;

/// Tokens that are profiled when nobody says how many, where the context holds twice as many.
const TOKENS: usize = 128;

pub(crate) fn run(context: &Context, args: &ProfileArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let report = pollster::block_on(profile(context, args, &interrupt))?;
    match context.output {
        Output::Json => context.print_json(&report),
        Output::Text => print(context, &report),
    }
}

async fn profile(context: &Context, args: &ProfileArgs, interrupt: &Interrupt) -> anyhow::Result<ProfileReport> {
    let options = |context_len: usize| {
        let tokens = |asked: Option<u32>| asked.map_or(TOKENS.min(context_len / 2), |n| n as usize);
        let (n_prompt, n_context) = (tokens(args.prompt_tokens), tokens(args.context_tokens));
        ProfileOptions { n_prompt, n_context, n_batch: args.batch as usize }
    };
    let bar = Bar::new(context);
    let mut on_phase = |done: usize, total: usize| bar.count("Measuring", done as u64, total as u64);
    match model::kind_of(context, &args.model).await? {
        Kind::Decoder => {
            let mut session = model::load_session(context, &args.model, &args.load, interrupt).await?;
            interrupt.disarm();
            let options = options(session.info().context_len);
            Ok(profile_decoder(&mut session, &options, &mut on_phase).await?)
        }
        Kind::Encoder => {
            let mut encoder = model::load_encoder(context, &args.model, &args.load.weights, interrupt).await?;
            interrupt.disarm();
            let options = options(2 * encoder.info().context_len);
            Ok(profile_encoder(&mut encoder, &options, &mut on_phase).await?)
        }
    }
}

fn print(context: &Context, report: &ProfileReport) -> anyhow::Result<()> {
    context.print(&format!("{} on {} ({})", report.model, report.device, report.backend))?;
    context.print(&format!("roofs: {}", roofs_line(&report.roofs)))?;
    for failure in &report.roofs.failures {
        context.note(&format!("not measured: {failure}"));
    }
    report.phases.iter().try_for_each(|phase| print_phase(context, phase))
}

fn print_phase(context: &Context, phase: &Phase) -> anyhow::Result<()> {
    let clock = match phase.clock {
        Clock::Device => "the device's clock",
        Clock::Host => "the host's clock",
    };
    let (name, n) = (phase.name, phase.n_tokens);
    let tokens = if n == 1 { "1 token".to_owned() } else { format!("{n} tokens") };
    context.print(&format!("\n{name}: {tokens} after {}, kernels by {clock}", phase.context))?;
    context.print("     ms   share  count     GB/s  GFLOP/s      of roof  kernel")?;
    phase.kernels.iter().try_for_each(|kernel| print_kernel(context, kernel))?;
    context.print(&format!(
        "{:7.2} ms in kernels, {:.2} ms in all, {:.2} ms between; {} dispatches, {} submits; {:.2} GB/s, {:.2} GFLOP/s",
        phase.kernels_ms,
        phase.wall_ms,
        phase.gap_ms,
        phase.dispatches,
        phase.submits,
        phase.gbytes_per_s,
        phase.gflops
    ))?;
    context.print(&phase.bottleneck)
}

fn print_kernel(context: &Context, kernel: &KernelTime) -> anyhow::Result<()> {
    let roof = roof_share(kernel.roof, kernel.roof_fraction);
    context.print(&format!(
        "{:7.2} {:5.1} % {:6} {:8.2} {:8.2} {roof:>12}  {} [{}]",
        kernel.ms,
        kernel.share * 100.0,
        kernel.count,
        kernel.gbytes_per_s,
        kernel.gflops,
        kernel.kernel,
        kernel.variant
    ))
}
