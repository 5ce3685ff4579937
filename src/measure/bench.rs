//! How fast a model runs, and how fast the device could: what `trice bench` and `web/bench.html` print.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::session::{GenerateOptions, Session, Timings};
use crate::tasks::TextEncoder;
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
    /// 10⁹ floating-point operations of weights per second, at the median.
    pub gflops: f64,
    /// 10⁹ bytes of weights read per second, at the median; of decoding only, where every token reads them all.
    pub gbytes_per_s: Option<f64>,
    /// `gbytes_per_s` over the device's measured read bandwidth.
    pub roof_fraction: Option<f64>,
    /// Dispatches of one decode step.
    pub dispatches_per_token: Option<u32>,
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
    /// The device's read bandwidth, 10⁹ bytes per second.
    pub read_gbytes_per_s: f64,
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

/// Measures a decoder: prefill of `n_prompt` tokens, decoding of `n_generate`; `on_run(done, total)` hears of every run.
pub async fn bench_decoder(
    session: &mut Session,
    options: &BenchOptions,
    on_run: &mut dyn FnMut(usize, usize),
) -> Result<BenchReport> {
    check(options, 1..=session.parallel())?;
    let gpu = &session.gpu().clone();
    let bandwidth = super::roofs::read_bandwidth(gpu).await?;
    let vocab_size = session.info().vocab_size;
    let (layers, head) = (session.layer_weights(), session.head_weight());
    let shapes = [("pp", options.n_prompt, 1), ("tg", 1, options.n_generate)];
    let shapes: Vec<_> = shapes.into_iter().filter(|(_, p, n)| *p > 0 && *n > 0).collect();
    let (total, mut done) = (shapes.len() * (options.repetitions + 1), 0);
    let mut tests = Vec::new();
    for (kind, n_prompt, n_generate) in shapes {
        let prompt = super::ids(n_prompt, vocab_size);
        let n_at_once = if kind == "tg" { options.n_batch } else { 1 };
        let mut rates = Vec::new();
        let mut dispatches = 0;
        for run in 0..=options.repetitions {
            session.forget();
            // One token more than measured: the first one is the prefill's.
            let n = n_generate + usize::from(kind == "tg");
            let request = GenerateOptions { max_tokens: Some(n), ignore_end: true, ..GenerateOptions::default() };
            let rate = if n_at_once > 1 {
                dispatches = session.decoder().dispatches_per_step();
                super::batch::decode_rate(session, n_at_once, n_generate).await?
            } else {
                let answer = session.generate(&prompt, &request, &mut |_| ControlFlow::Continue(())).await?;
                dispatches = answer.timings.dispatches_per_token;
                let Timings { prefill_tokens_per_s, decode_tokens_per_s, .. } = answer.timings;
                if kind == "pp" { prefill_tokens_per_s } else { decode_tokens_per_s }
            };
            if run > 0 {
                rates.push(rate);
            }
            done += 1;
            on_run(done, total);
        }
        let rate = spread(rates);
        // A prompt takes the head once, at its last token.
        let heads_per_token = if kind == "pp" { 1.0 / n_prompt as f64 } else { 1.0 };
        let weights_per_token = layers.n_weights as f64 + head.n_weights as f64 * heads_per_token;
        // Answers at once share a read of the weights.
        let reads_per_s = rate.median / n_at_once as f64;
        let gbytes_per_s = (kind == "tg").then(|| reads_per_s * (layers.n_bytes + head.n_bytes) as f64 / 1e9);
        let name = format!("{kind}{}", if kind == "pp" { n_prompt } else { n_generate });
        tests.push(BenchTest {
            name: if n_at_once > 1 { format!("{name} b{n_at_once}") } else { name },
            tokens_per_s: rate,
            gflops: rate.median * 2.0 * weights_per_token / 1e9,
            gbytes_per_s,
            roof_fraction: gbytes_per_s.map(|rate| rate * 1e9 / bandwidth),
            dispatches_per_token: (kind == "tg").then_some(dispatches),
        });
    }
    Ok(report(gpu, &session.info().name, bandwidth, tests))
}

/// Measures an encoder: `n_batch` texts of `n_prompt` tokens at once; `on_run(done, total)` hears of every run.
pub async fn bench_encoder(
    encoder: &mut TextEncoder,
    options: &BenchOptions,
    on_run: &mut dyn FnMut(usize, usize),
) -> Result<BenchReport> {
    check(options, 1..=1024)?;
    let gpu = &encoder.gpu().clone();
    let bandwidth = super::roofs::read_bandwidth(gpu).await?;
    let n = options.n_prompt;
    if n == 0 {
        return Ok(report(gpu, &encoder.info().name, bandwidth, Vec::new()));
    }
    let text = super::ids(n, encoder.info().vocab_size);
    let texts = vec![text; options.n_batch];
    let mut rates = Vec::new();
    for run in 0..=options.repetitions {
        let start = Instant::now();
        encoder.embed_ids(&texts, None, crate::tasks::Scaling::Unit).await?;
        if run > 0 {
            rates.push((n * options.n_batch) as f64 / start.elapsed().as_secs_f64());
        }
        on_run(run + 1, options.repetitions + 1);
    }
    let rate = spread(rates);
    let test = BenchTest {
        name: format!("pp{n}"),
        tokens_per_s: rate,
        gflops: rate.median * 2.0 * encoder.layer_weights().n_weights as f64 / 1e9,
        gbytes_per_s: None,
        roof_fraction: None,
        dispatches_per_token: None,
    };
    Ok(report(gpu, &encoder.info().name, bandwidth, vec![test]))
}

fn report(gpu: &Gpu, model: &str, bandwidth: f64, tests: Vec<BenchTest>) -> BenchReport {
    let info = gpu.info();
    BenchReport {
        model: model.to_owned(),
        device: info.name.clone(),
        backend: info.backend.clone(),
        read_gbytes_per_s: bandwidth / 1e9,
        tests,
    }
}
