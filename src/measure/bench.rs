//! How fast a model runs, and what share of the device's roof that is: what `trice bench` and `web/bench.html` print.

use super::plan;
use super::roofs::{Roof, Roofs};
use crate::error::{Error, Result};
use crate::gpu::{Choices, Cost, Gpu};
use crate::session::{GenerateOptions, Session, Timings};
use crate::tasks::{Scaling, TextEncoder};
use serde::Serialize;
use std::ops::ControlFlow;
use web_time::Instant;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Prompt tokens; for an encoder, tokens per text. 0 leaves the test out.
    pub n_prompt: usize,
    /// Generated tokens. 0 leaves the test out.
    pub n_generate: usize,
    /// Texts at once; a decoder must be loaded for as many answers.
    pub n_batch: usize,
    /// Measured runs of each test, after one that is not.
    pub repetitions: usize,
}

/// Median and extremes of several runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// One test's outcome. Figures that were not measured are null.
#[derive(Clone, Debug, Serialize)]
pub struct BenchTest {
    /// `pp512`, `tg128`, `tg128 b4` for four answers at once.
    pub name: String,
    /// Tokens per second.
    pub tokens_per_s: Spread,
    /// 10⁹ operations per second, at the median.
    pub gflops: f64,
    /// 10⁹ bytes moved per second, at the median.
    pub gbytes_per_s: Option<f64>,
    /// What of the roof is reached, at the median.
    pub roof_fraction: Option<f64>,
    /// The roof that this work stands under: reading, or computing on 32-bit floats.
    pub roof: Option<Roof>,
    /// Operations per token, by `kernels::cost`: of a plain step, also where drafts were checked.
    pub flops_per_token: f64,
    /// Bytes that a token must move at the least, by `kernels::cost`: of a plain step likewise.
    pub bytes_per_token: f64,
    /// Dispatches of one decode step.
    pub dispatches_per_token: Option<u32>,
    /// Submits per generated token.
    pub submits_per_token: Option<f64>,
    /// Times the host waited for the device, per generated token.
    pub read_backs_per_token: Option<f64>,
    /// Tokens guessed ahead in one run, where the session speculates.
    pub drafted_tokens: Option<usize>,
    /// Those among them that were right.
    pub accepted_tokens: Option<usize>,
}

/// What `bench --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// `vulkan`, `metal`, `dx12`, `webgpu`.
    pub backend: String,
    /// The shaders that ran, where several are right.
    pub choices: Choices,
    /// The device's read bandwidth, 10⁹ bytes per second.
    pub read_gbytes_per_s: Option<f64>,
    /// All that the device does at best.
    pub roofs: Roofs,
    /// The tests.
    pub tests: Vec<BenchTest>,
}

fn spread(mut rates: Vec<f64>) -> Spread {
    rates.sort_by(f64::total_cmp);
    Spread { median: rates[rates.len() / 2], min: rates[0], max: rates[rates.len() - 1] }
}

fn check(options: &BenchOptions, n_batch: std::ops::RangeInclusive<usize>) -> Result<()> {
    if options.repetitions == 0 {
        return Err(Error::invalid("repetitions must be 1 or more, not 0"));
    }
    if !n_batch.contains(&options.n_batch) {
        return Err(Error::invalid(format!("a batch of {n_batch:?} was wanted, not {}", options.n_batch)));
    }
    Ok(())
}

/// What the runs of one test gave.
struct Measured {
    name: String,
    rates: Vec<f64>,
    /// What `n_tokens` tokens have to do.
    cost: Cost,
    n_tokens: usize,
}

impl Measured {
    fn test(self, roofs: &Roofs) -> BenchTest {
        let rate = spread(self.rates);
        let per_token = |n: u64| n as f64 / self.n_tokens as f64;
        let (flops_per_token, bytes_per_token) = (per_token(self.cost.flops), per_token(self.cost.n_bytes()));
        let share = roofs.share(&self.cost, self.n_tokens as f64 / rate.median);
        BenchTest {
            name: self.name,
            tokens_per_s: rate,
            gflops: rate.median * flops_per_token / 1e9,
            gbytes_per_s: Some(rate.median * bytes_per_token / 1e9),
            roof_fraction: share.map(|(_, fraction)| fraction),
            roof: share.map(|(roof, _)| roof),
            flops_per_token,
            bytes_per_token,
            dispatches_per_token: None,
            submits_per_token: None,
            read_backs_per_token: None,
            drafted_tokens: None,
            accepted_tokens: None,
        }
    }
}

/// Measures a decoder: prefill of `n_prompt` tokens, decoding of `n_generate`; `on_run(done, total)` hears of every run.
pub async fn bench_decoder(
    session: &mut Session,
    options: &BenchOptions,
    on_run: &mut dyn FnMut(usize, usize),
) -> Result<BenchReport> {
    check(options, 1..=session.parallel())?;
    let gpu = &session.gpu().clone();
    let roofs = Roofs::measure(gpu).await;
    let n_tests = usize::from(options.n_prompt > 0) + usize::from(options.n_generate > 0);
    let (total, mut done) = (n_tests * (options.repetitions + 1), 0);
    let mut on_run = || {
        done += 1;
        on_run(done, total);
    };
    let mut tests = Vec::new();
    if options.n_prompt > 0 {
        let (n, name) = (options.n_prompt, format!("pp{}", options.n_prompt));
        let timings = generate(session, n, 1, options.repetitions, &mut on_run).await?;
        let rates = timings.iter().map(|timings| timings.prefill_tokens_per_s).collect();
        let cost = plan::prefill(gpu, session.decoder(), n)?.cost();
        tests.push(Measured { name, rates, cost, n_tokens: n }.test(&roofs));
    }
    if options.n_generate > 0 && options.n_batch > 1 {
        tests.push(bench_batch(session, options, &roofs, &mut on_run).await?);
    } else if options.n_generate > 0 {
        let (n, name) = (options.n_generate, format!("tg{}", options.n_generate));
        // One token more than measured: the first one is the prefill's.
        let timings = generate(session, 1, n + 1, options.repetitions, &mut on_run).await?;
        let rates = timings.iter().map(|timings| timings.decode_tokens_per_s).collect();
        // A step costs more by the same amount for each position before it: the mean is that of the first and the last.
        let step = |context: usize| Ok(plan::decode(gpu, session.decoder(), context)?.cost());
        let cost = step(2)? + step(n + 1)?;
        let last = timings[timings.len() - 1];
        let measured = Measured { name, rates, cost, n_tokens: 2 }.test(&roofs);
        let is_drafted = last.drafted_tokens > 0;
        tests.push(BenchTest {
            dispatches_per_token: Some(last.dispatches_per_token),
            submits_per_token: Some(last.submits_per_token),
            read_backs_per_token: Some(last.read_backs_per_token),
            drafted_tokens: Some(last.drafted_tokens),
            accepted_tokens: Some(last.accepted_tokens),
            // Several tokens share what was counted for one.
            gbytes_per_s: measured.gbytes_per_s.filter(|_| !is_drafted),
            roof_fraction: measured.roof_fraction.filter(|_| !is_drafted),
            roof: measured.roof.filter(|_| !is_drafted),
            ..measured
        });
    }
    Ok(report(gpu, &session.info().name, roofs, tests))
}

/// Several answers at once: tokens per second of all together.
async fn bench_batch(
    session: &mut Session,
    options: &BenchOptions,
    roofs: &Roofs,
    on_run: &mut dyn FnMut(),
) -> Result<BenchTest> {
    let (n, n_batch) = (options.n_generate, options.n_batch);
    let mut runs = Vec::new();
    for _ in 0..=options.repetitions {
        runs.push(super::batch::decode(session, n_batch, n).await?);
        on_run();
    }
    // A step writes a token of each answer and reads the weights once; what it reads besides is little beside them.
    let one = plan::decode(session.gpu(), session.decoder(), n + 1)?.cost();
    let cost = Cost { flops: one.flops * n_batch as u64, ..one };
    let last = runs[runs.len() - 1];
    let rates = runs.split_off(1).iter().map(|run| run.tokens_per_s).collect();
    let measured = Measured { name: format!("tg{n} b{n_batch}"), rates, cost, n_tokens: n_batch };
    let dispatches_per_token = Some(session.decoder().dispatches_per_step());
    Ok(BenchTest {
        dispatches_per_token,
        submits_per_token: Some(last.submits_per_token),
        read_backs_per_token: Some(last.read_backs_per_token),
        ..measured.test(roofs)
    })
}

/// Generates `n` tokens after a prompt of `n_prompt`, `repetitions` times after once for nothing.
async fn generate(
    session: &mut Session,
    n_prompt: usize,
    n: usize,
    repetitions: usize,
    on_run: &mut dyn FnMut(),
) -> Result<Vec<Timings>> {
    let prompt = super::ids(n_prompt, session.info().vocab_size);
    let request = GenerateOptions { max_tokens: Some(n), ignore_end: true, ..GenerateOptions::default() };
    let mut all = Vec::new();
    for _ in 0..=repetitions {
        session.forget();
        all.push(session.generate(&prompt, &request, &mut |_| ControlFlow::Continue(())).await?.timings);
        on_run();
    }
    Ok(all.split_off(1))
}

/// Measures an encoder: `n_batch` texts of `n_prompt` tokens at once; `on_run(done, total)` hears of every run.
pub async fn bench_encoder(
    encoder: &mut TextEncoder,
    options: &BenchOptions,
    on_run: &mut dyn FnMut(usize, usize),
) -> Result<BenchReport> {
    check(options, 1..=1024)?;
    let gpu = &encoder.gpu().clone();
    let roofs = Roofs::measure(gpu).await;
    let n = options.n_prompt;
    if n == 0 {
        return Ok(report(gpu, &encoder.info().name, roofs, Vec::new()));
    }
    let texts = vec![super::ids(n, encoder.info().vocab_size); options.n_batch];
    let mut rates = Vec::new();
    for run in 0..=options.repetitions {
        let start = Instant::now();
        encoder.embed_ids(&texts, None, Scaling::Unit).await?;
        if run > 0 {
            rates.push((n * options.n_batch) as f64 / start.elapsed().as_secs_f64());
        }
        on_run(run + 1, options.repetitions + 1);
    }
    // Every text costs the same, in whichever batch; weights count once for all that fit one.
    let n_texts = options.n_batch.min(encoder.texts_per_batch(n));
    let cost = plan::batch(gpu, encoder, n, n_texts).await?.cost();
    let test = Measured { name: format!("pp{n}"), rates, cost, n_tokens: n * n_texts }.test(&roofs);
    Ok(report(gpu, &encoder.info().name, roofs, vec![test]))
}

fn report(gpu: &Gpu, model: &str, roofs: Roofs, tests: Vec<BenchTest>) -> BenchReport {
    let info = gpu.info();
    BenchReport {
        model: model.to_owned(),
        device: info.name.clone(),
        backend: info.backend.clone(),
        choices: gpu.choices(),
        read_gbytes_per_s: roofs.read_gbytes_per_s,
        roofs,
        tests,
    }
}
