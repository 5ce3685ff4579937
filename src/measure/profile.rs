//! Where the time of a model goes: every dispatch timed and compared with what it has to do and with the device's roofs.
//! Kernels are timed by the device's own clock where that can be believed, else by the host's around many runs of each.

use super::plan::{self, Plan, Run, STEPS};
use super::roofs::{Roof, Roofs};
use crate::error::{Error, Result};
use crate::gpu::timing::Stamped;
use crate::gpu::{Cost, Gpu, Label};
use crate::model::decoder::Decoder;
use crate::session::Session;
use crate::tasks::TextEncoder;
use crate::text::SamplingParams;
use serde::Serialize;
use std::collections::HashMap;
use web_time::Instant;

/// What is profiled.
#[derive(Clone, Copy, Debug)]
pub struct ProfileOptions {
    /// Prompt tokens; for an encoder, tokens per text. 0 leaves the phase out.
    pub n_prompt: usize,
    /// Tokens of context that the profiled decode step stands at. 0 leaves the phase out.
    pub n_context: usize,
    /// Texts at once; decoders take 1.
    pub n_batch: usize,
}

/// What `profile --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileReport {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// `vulkan`, `metal`, `dx12`, `webgpu`.
    pub backend: String,
    /// What the device does at best.
    pub roofs: Roofs,
    /// Prompt and decoding, or the batch of an encoder.
    pub phases: Vec<Phase>,
}

/// Whose clock timed the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's timestamps.
    Device,
    /// The host's, around many runs of each kernel.
    Host,
}

/// One kind of work and where its time goes.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// `prefill`, `decode` or `batch`.
    pub name: &'static str,
    /// Tokens that it runs.
    pub n_tokens: usize,
    /// Tokens of context before them.
    pub context: usize,
    /// Whose clock timed the kernels.
    pub clock: Clock,
    /// Milliseconds of a real run, by the host's clock.
    pub wall_ms: f64,
    /// Milliseconds of all kernels.
    pub kernels_ms: f64,
    /// `wall_ms` less `kernels_ms`: what dispatching, submitting and waiting cost. Negative where timing kernels one by one
    /// costs more than that.
    pub gap_ms: f64,
    /// Dispatches.
    pub dispatches: usize,
    /// Submits.
    pub submits: usize,
    /// 10⁹ operations per second of a real run.
    pub gflops: f64,
    /// 10⁹ bytes moved per second of a real run.
    pub gbytes_per_s: f64,
    /// The kernels, longest first.
    pub kernels: Vec<KernelTime>,
    /// What to look at first, in words.
    pub bottleneck: String,
}

/// One shader's share of a phase.
#[derive(Clone, Debug, Serialize)]
pub struct KernelTime {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Its variant.
    pub variant: String,
    /// Dispatches.
    pub count: usize,
    /// Milliseconds of all of them.
    pub ms: f64,
    /// Their share of the time of all kernels.
    pub share: f64,
    /// 10⁹ operations per second.
    pub gflops: f64,
    /// 10⁹ bytes moved per second.
    pub gbytes_per_s: f64,
    /// The roof it stands under.
    pub roof: Option<Roof>,
    /// How much of that roof it reaches.
    pub roof_fraction: Option<f64>,
}

/// Seconds that repeating one measurement may take.
const BUDGET: f64 = 1.0;

/// Repetitions of a measurement at most.
const MAX_RUNS: usize = 16;

/// Seconds of the host's clock that a kernel's runs take at least.
const LONG_ENOUGH: f64 = 0.01;

/// Dispatches in a pass that the host's clock times at most, so that no driver takes it for a hang.
const MAX_DISPATCHES: usize = 1 << 14;

/// Profiles a decoder: a prompt of `n_prompt` tokens, then a decode step in a context of `n_context` tokens;
/// `on_phase(done, total)` hears of every part measured, the first of which is the device's roofs.
pub async fn profile_decoder(
    session: &mut Session,
    options: &ProfileOptions,
    on_phase: &mut dyn FnMut(usize, usize),
) -> Result<ProfileReport> {
    if options.n_batch != 1 {
        return Err(Error::invalid(format!("a batch of 1 was wanted, not {}", options.n_batch)));
    }
    let longest = options.n_prompt.max(options.n_context);
    let available = session.info().context_len - STEPS.min(session.info().context_len - 1);
    if longest > available {
        let (what, needed) = ("tokens of context to profile at".into(), longest as u64);
        return Err(Error::Limit { what, needed, available: available as u64 });
    }
    // What is timed overwrites the cache.
    session.forget();
    let gpu = session.gpu().clone();
    let roofs = Roofs::measure(&gpu).await;
    on_phase(1, 3);
    let ids = super::ids(longest, session.info().vocab_size);
    let decoder = session.decoder();
    decoder.set_sampling(&gpu, &SamplingParams::default());
    fill_cache(&gpu, decoder, &ids)?;
    let mut phases = Vec::new();
    let plans = [plan::prefill(&gpu, decoder, options.n_prompt)?, plan::decode(&gpu, decoder, options.n_context)?];
    for (i, plan) in plans.iter().enumerate() {
        if plan.n_tokens > 0 {
            phases.push(measure(&gpu, &roofs, plan).await?);
        }
        on_phase(i + 2, 3);
    }
    Ok(report(&gpu, &session.info().name, roofs, phases))
}

/// Profiles an encoder: one batch of `n_batch` texts of `n_prompt` tokens.
pub async fn profile_encoder(
    encoder: &mut TextEncoder,
    options: &ProfileOptions,
    on_phase: &mut dyn FnMut(usize, usize),
) -> Result<ProfileReport> {
    let gpu = encoder.gpu().clone();
    let (n, n_texts, name) = (options.n_prompt, options.n_batch, encoder.info().name.clone());
    // Before the seconds that the roofs take: what does not fit is refused at once.
    let plan = if n > 0 { Some(plan::batch(&gpu, encoder, n, n_texts).await?) } else { None };
    let roofs = Roofs::measure(&gpu).await;
    on_phase(1, 2);
    let mut phases = Vec::new();
    if let Some(plan) = plan {
        phases.push(measure(&gpu, &roofs, &plan).await?);
    }
    on_phase(2, 2);
    Ok(report(&gpu, &name, roofs, phases))
}

/// Runs `ids` as a prompt, so that the history and the cache hold what a real run finds there.
fn fill_cache(gpu: &Gpu, decoder: &Decoder, ids: &[u32]) -> Result<()> {
    for (i, chunk) in ids.chunks(decoder.chunk_len()).enumerate() {
        decoder.prefill(gpu, i * decoder.chunk_len(), chunk)?;
    }
    Ok(())
}

fn report(gpu: &Gpu, model: &str, roofs: Roofs, phases: Vec<Phase>) -> ProfileReport {
    let info = gpu.info();
    let (device, backend) = (info.name.clone(), info.backend.clone());
    ProfileReport { model: model.to_owned(), device, backend, roofs, phases }
}

/// One shader's runs of a phase, added up.
#[derive(Clone, Copy, Default)]
struct Group {
    count: usize,
    seconds: f64,
    cost: Cost,
}

async fn measure(gpu: &Gpu, roofs: &Roofs, plan: &Plan<'_>) -> Result<Phase> {
    // In turn, so that what else the machine does meets both alike.
    let once = async || Ok((wall(gpu, plan).await?, stamp(gpu, plan).await?));
    let runs = repeat(once, |(wall, _)| *wall).await?;
    let wall = runs.iter().map(|(wall, _)| wall).sum::<f64>() / runs.len() as f64;
    let stamped: Vec<Vec<Stamped>> = runs.into_iter().map(|(_, stamped)| stamped).collect();
    let (clock, groups) = if gpu.info().timestamps && stamped.iter().flatten().all(is_believable) {
        (Clock::Device, stamped_groups(plan, &stamped))
    } else {
        (Clock::Host, clocked_groups(gpu, plan).await?)
    };
    let total: f64 = groups.values().map(|group| group.seconds).sum();
    let cost: Cost = groups.values().map(|group| group.cost).sum();
    let mut kernels: Vec<_> =
        groups.into_iter().map(|(label, group)| kernel_time(roofs, label, group, total)).collect();
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let bottleneck = bottleneck(plan.name, wall, total, &kernels);
    Ok(Phase {
        name: plan.name,
        n_tokens: plan.n_tokens,
        context: plan.context,
        clock,
        wall_ms: wall * 1e3,
        kernels_ms: total * 1e3,
        gap_ms: (wall - total) * 1e3,
        dispatches: plan.runs.iter().map(|run| run.program.n_dispatches()).sum(),
        submits: plan.runs.len(),
        gflops: cost.flops as f64 / wall / 1e9,
        gbytes_per_s: cost.n_bytes() as f64 / wall / 1e9,
        kernels,
        bottleneck,
    })
}

fn kernel_time(roofs: &Roofs, label: Label, group: Group, total: f64) -> KernelTime {
    let rate = |n: u64| if group.seconds > 0.0 { n as f64 / group.seconds / 1e9 } else { 0.0 };
    let share = roofs.share(&group.cost, group.seconds);
    KernelTime {
        kernel: label.kernel,
        variant: label.variant,
        count: group.count,
        ms: group.seconds * 1e3,
        share: group.seconds / total.max(f64::MIN_POSITIVE),
        gflops: rate(group.cost.flops),
        gbytes_per_s: rate(group.cost.n_bytes()),
        roof: share.map(|(roof, _)| roof),
        roof_fraction: share.map(|(_, fraction)| fraction),
    }
}

/// Repeats a measurement while there is time, and returns the mean of the faster half: the slower one holds what else the
/// machine did, and a mean evens out a coarse clock. `seconds` orders the measurements.
async fn repeat<T>(mut once: impl AsyncFnMut() -> Result<T>, seconds: impl Fn(&T) -> f64) -> Result<Vec<T>> {
    let start = Instant::now();
    let mut runs = Vec::new();
    while runs.is_empty() || (runs.len() < MAX_RUNS && start.elapsed().as_secs_f64() < BUDGET) {
        runs.push(once().await?);
    }
    runs.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    runs.truncate(runs.len().div_ceil(2));
    Ok(runs)
}

/// Seconds of a real run of `plan`, by the host's clock.
async fn wall(gpu: &Gpu, plan: &Plan<'_>) -> Result<f64> {
    gpu.flush("profiling").await?;
    let start = Instant::now();
    for run in &plan.runs {
        (run.prepare)();
        for _ in 0..plan.n_times {
            gpu.submit(run.program, None)?;
        }
    }
    gpu.flush("profiling").await?;
    Ok(start.elapsed().as_secs_f64() / plan.n_times as f64)
}

/// Every dispatch of `plan` by the device's clock; nothing where it has none.
async fn stamp(gpu: &Gpu, plan: &Plan<'_>) -> Result<Vec<Stamped>> {
    let mut all = Vec::new();
    for run in plan.runs.iter().filter(|_| gpu.info().timestamps) {
        (run.prepare)();
        all.push(gpu.stamp(run.program).await?);
    }
    Ok(all)
}

/// The phase's kernels by the device's clock, the mean over several times that it was stamped.
fn stamped_groups(plan: &Plan<'_>, times: &[Vec<Stamped>]) -> HashMap<Label, Group> {
    let mut groups = HashMap::new();
    for (r, run) in plan.runs.iter().enumerate() {
        for (i, (label, cost)) in run.program.labels().zip(&run.costs).enumerate() {
            let sum: f64 = times.iter().map(|stamped| stamped[r].dispatches[i]).sum();
            add(&mut groups, label, sum / times.len() as f64, *cost);
        }
    }
    groups
}

/// Whether a device's times can be true: none negative, together no longer than the run by the host's clock, and no small
/// part of it.
fn is_believable(Stamped { dispatches, wall }: &Stamped) -> bool {
    let total: f64 = dispatches.iter().sum();
    dispatches.iter().all(|seconds| *seconds >= 0.0) && total <= wall * 1.05 && total >= wall * 0.02
}

fn add(groups: &mut HashMap<Label, Group>, label: &Label, seconds: f64, cost: Cost) {
    let group = groups.entry(label.clone()).or_default();
    group.count += 1;
    group.seconds += seconds;
    group.cost = group.cost + cost;
}

/// The phase's kernels by the host's clock: all dispatches of one shader in a row, again and again, less what a submit and
/// the wait for it cost.
async fn clocked_groups(gpu: &Gpu, plan: &Plan<'_>) -> Result<HashMap<Label, Group>> {
    let mut groups = HashMap::new();
    for run in &plan.runs {
        let idle = repeat(async || gpu.time_some(run.program, &[], 1).await, |seconds| *seconds).await?[0];
        let labels: Vec<&Label> = run.program.labels().collect();
        let mut seen: Vec<&Label> = Vec::new();
        for label in &labels {
            if seen.contains(label) {
                continue;
            }
            seen.push(label);
            let which: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == *label).collect();
            let seconds = clocked(gpu, run, &which, idle).await? / which.len() as f64;
            which.iter().for_each(|i| add(&mut groups, label, seconds, run.costs[*i]));
        }
    }
    Ok(groups)
}

/// Seconds of one run of the dispatches `which`, by the host's clock.
async fn clocked(gpu: &Gpu, run: &Run<'_>, which: &[usize], idle: f64) -> Result<f64> {
    let mut times = 1;
    loop {
        (run.prepare)();
        let once = async || gpu.time_some(run.program, which, times).await;
        let seconds = (once().await? - idle).max(0.0);
        if seconds >= LONG_ENOUGH || times * which.len() * 2 > MAX_DISPATCHES {
            let again = (once().await? - idle).max(0.0);
            return Ok(seconds.min(again) / times as f64);
        }
        times *= 2;
    }
}

/// What to look at first: the longest kernel, or what is no kernel.
fn bottleneck(phase: &str, wall: f64, total: f64, kernels: &[KernelTime]) -> String {
    let percent = |fraction: f64| format!("{:.0} %", fraction * 100.0);
    let Some(longest) = kernels.first() else { return format!("{phase}: nothing was dispatched") };
    let gap = wall - total;
    if gap * 1e3 > longest.ms {
        return format!(
            "{phase}: {} of the time between kernels: dispatching, submitting and waiting",
            percent(gap / wall)
        );
    }
    let slots = longest.variant.split(' ').filter(|word| !word.contains('=')).collect::<Vec<_>>().join(" ");
    let name = format!("{} {slots}", longest.kernel);
    let roof = match (longest.roof, longest.roof_fraction) {
        (Some(roof), Some(fraction)) => format!(", at {} of the {} roof", percent(fraction), roof.name()),
        _ => String::new(),
    };
    format!("{phase}: {} of the time in {}{roof}", percent(longest.share), name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(dispatches: &[f64]) -> Stamped {
        Stamped { dispatches: dispatches.to_vec(), wall: 1.0 }
    }

    #[test]
    fn a_clock_that_cannot_be_true_is_not_believed() {
        assert!(is_believable(&stamped(&[0.5, 0.4])));
        // A coarse clock shows nothing for some.
        assert!(is_believable(&stamped(&[0.0, 0.1])));
        for wrong in [&[0.0, 0.0][..], &[0.9, -0.1], &[0.9, 0.3], &[0.001, 0.001]] {
            assert!(!is_believable(&stamped(wrong)), "{wrong:?}");
        }
    }

    fn kernel(ms: f64, share: f64, roof: Option<(Roof, f64)>) -> KernelTime {
        KernelTime {
            kernel: "matvec",
            variant: "q4_0 subgroup WG=64".into(),
            count: 1,
            ms,
            share,
            gflops: 0.0,
            gbytes_per_s: 0.0,
            roof: roof.map(|(roof, _)| roof),
            roof_fraction: roof.map(|(_, fraction)| fraction),
        }
    }

    #[test]
    fn the_bottleneck_is_the_longest_kernel_or_the_gap() {
        let kernels = [kernel(71.0, 0.71, Some((Roof::Read, 0.34)))];
        let words = bottleneck("decode", 0.11, 0.1, &kernels);
        assert_eq!(words, "decode: 71 % of the time in matvec q4_0 subgroup, at 34 % of the read roof");
        let words = bottleneck("decode", 0.4, 0.1, &kernels);
        assert_eq!(words, "decode: 75 % of the time between kernels: dispatching, submitting and waiting");
        assert_eq!(
            bottleneck("decode", 0.1, 0.1, &[kernel(100.0, 1.0, None)]),
            "decode: 100 % of the time in matvec q4_0 subgroup"
        );
        assert_eq!(bottleneck("decode", 0.1, 0.0, &[]), "decode: nothing was dispatched");
    }
}
