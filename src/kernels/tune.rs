//! Which of several right shaders are fastest on a device: each computes the same products, is checked against the CPU, and
//! is timed. What is wrong is never chosen; what is fastest is kept under the device's name.

use super::matmul::TILE_COLUMNS;
use super::probe::Probe;
use crate::error::{Error, Result};
use crate::gpu::choices::{NARROW_CHUNK, WIDE_CHUNK};
use crate::gpu::{Choices, DeviceInfo, Gpu, Math, OneColumn, Program, Share};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use web_time::Instant;

/// Seconds after which no further candidate is tried, beyond the first two of most questions: what was measured so far decides. A
/// driver that compiles slowly would make a person wait. A wide device is given more: it has more to gain.
const BUDGET: f64 = 0.8;
const WIDE_BUDGET: f64 = 5.0;

/// Seconds that a timed run takes at least.
const LONG_ENOUGH: f64 = 0.003;

/// Timed runs of a candidate; the fastest counts.
const RUNS: usize = 4;

/// The fewest of them, and the seconds after which no more are needed.
const MIN_RUNS: usize = 3;
const MUCH: f64 = 0.05;

/// The most repetitions of the products in a timed run.
const MAX_TIMES: usize = 256;

/// Error against the CPU above which a candidate is wrong.
fn max_nmse(math: Math) -> f64 {
    match math {
        Math::F32 => 1e-5,
        Math::F16 | Math::Int8 => 1e-3,
    }
}

/// A candidate must be this much faster to replace an earlier one: noise chooses nothing.
const MARGIN: f64 = 0.85;

/// Choices by device, as they are kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tunings(BTreeMap<String, Choices>);

impl Tunings {
    /// Reads what `to_json` wrote; anything else, such as an older version's, is no tuning yet.
    pub fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// All of them as one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What was measured on a device.
    pub fn of(&self, device: &DeviceInfo) -> Option<Choices> {
        self.0.get(&key(device)).copied()
    }

    /// Keeps what was measured on a device.
    pub fn keep(&mut self, device: &DeviceInfo, choices: Choices) {
        self.0.insert(key(device), choices);
    }
}

/// A driver's update may change which shader is fastest, and so may ours. Browsers say little of an adapter: what it can do
/// tells some apart.
fn key(device: &DeviceInfo) -> String {
    let DeviceInfo { name, driver, backend, subgroup_size: (smallest, largest), f16, .. } = device;
    let version = env!("CARGO_PKG_VERSION");
    format!("{name} | {driver} | {backend} | lanes {smallest} to {largest} | f16 {f16} | trice {version}")
}

/// Columns of a step with many, on a device that they keep busy.
const MANY: u32 = 4 * TILE_COLUMNS;

/// Seconds of small products with one tile of columns, and with `NARROW_CHUNK`, above which more columns are not worth a trial: the
/// device is no fast one, and a longer chunk would keep it from the screen.
const QUICK: f64 = 0.3e-3;
const BUSY: f64 = 0.5e-3;

/// A random model and those of its tensors that are multiplied, wide and small ones. Rows are equally long, so a candidate is one
/// shader: compiling is what takes the time.
type Probed = (&'static str, &'static [&'static [&'static str]]);

/// `(3072, 576)` and `(576, 576)`, of a model of 135M weights.
const SMALL: Probed =
    ("135m:Q4_0", &[&["blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"], &["blk.0.attn_output.weight"]]);

/// `(2048, 2048)`, of one of a billion: as few rows as a model has that is worth a wide device, and alone, since what follows a
/// product waits for it.
const LARGE: Probed = ("1b:Q4_0", &[&["blk.0.attn_output.weight"]]);

/// Seconds of one run, the fastest of a few. A browser takes milliseconds to tell that work is done, more than the work: each
/// run repeats the program until that is the smaller part, and what waiting for nothing takes is left out. A run that something
/// else held up looks long enough and is not: a doubled one has to agree.
async fn fastest(gpu: &Gpu, program: &Program) -> Result<f64> {
    let all: Vec<usize> = (0..program.n_dispatches()).collect();
    let mut idle = f64::INFINITY;
    for _ in 0..3 {
        idle = idle.min(gpu.time_some(program, &[], 1).await?);
    }
    let (mut times, mut runs) = (1, Vec::new());
    while runs.len() < MIN_RUNS || (runs.len() < RUNS && runs.iter().sum::<f64>() < MUCH) {
        let seconds = gpu.time_some(program, &all, times).await? - idle;
        if seconds >= LONG_ENOUGH + 4.0 * idle || times == MAX_TIMES {
            runs.push(seconds.max(1e-6));
        } else {
            // Too short, whatever longer ones there were before.
            runs.clear();
            times = (2 * times).min(MAX_TIMES);
        }
    }
    Ok(runs.into_iter().fold(f64::INFINITY, f64::min) / times as f64)
}

/// Measures which shaders are fastest on `gpu`, in about a second, or a few on one that is worth it.
///
/// # Errors
/// `Gpu` when every candidate for some product gives wrong results: nothing computed there could be trusted.
pub async fn tune(gpu: &Gpu) -> Result<Choices> {
    gpu.begin("choosing shaders")?;
    let mut contest = Contest::new(gpu, SMALL, BUDGET).await?;
    let shares: &[Share] = if gpu.caps().subgroups { &[Share::Broadcast, Share::Shuffle] } else { &[Share::Broadcast] };
    let all: Vec<_> = shares.iter().map(|share| Choices { share: *share, ..Choices::default() }).collect();
    let (mut choices, seconds) = contest.best_of(Choices::default().tile_columns, None, &all).await?;
    if seconds < QUICK {
        choices.chunk = contest.chunk(choices).await?;
    }
    if choices.is_wide() {
        contest = Contest::new(gpu, LARGE, WIDE_BUDGET).await?;
    }
    // Those that differ most come first, for where there is time for few.
    let one = |one_column| Choices { one_column, ..choices };
    // A thread that walks rows alone leaves a wide device idle (NVIDIA H100: a fifth of the speed).
    let all: &[OneColumn] = if choices.is_wide() {
        &[OneColumn::Team2, OneColumn::Team1]
    } else {
        &[OneColumn::Team2, OneColumn::Tile32, OneColumn::Team8, OneColumn::Tile16, OneColumn::Tile64]
    };
    let all: Vec<_> = all.iter().copied().map(one).collect();
    choices = contest.best_of(1, None, &all).await?.0;
    let n_columns = if choices.is_wide() { WIDE_CHUNK } else { MANY };
    let many = |(tile_columns, tile_threads)| Choices { tile_columns, tile_threads, ..choices };
    // Of about equals the widest: it reads weights least often.
    let all = [(16, 32), (8, 64), (4, 64), (8, 32)].map(many);
    let in_f32 = contest.best_of(n_columns, None, &all).await?;
    let shorter: &[Math] = if gpu.caps().f16 { &[Math::F16, Math::Int8] } else { &[Math::Int8] };
    let all: Vec<_> = shorter.iter().map(|math| Choices { math: *math, ..in_f32.0 }).collect();
    Ok(contest.best_of(n_columns, Some(in_f32), &all).await?.0)
}

/// A candidate and its seconds.
type Timed = (Choices, f64);

/// Candidates in turn on one device.
struct Contest<'a> {
    gpu: &'a Gpu,
    probe: Probe,
    budget: f64,
    start: Instant,
}

impl<'a> Contest<'a> {
    async fn new(gpu: &'a Gpu, (model, tensors): Probed, budget: f64) -> Result<Self> {
        let probe = Probe::new(gpu, model, tensors).await?;
        Ok(Self { gpu, probe, budget, start: Instant::now() })
    }

    /// The fastest with `n_columns` columns, of what is `known` and of `all`: of two at least, of more while there is time.
    async fn best_of(&self, n_columns: u32, known: Option<Timed>, all: &[Choices]) -> Result<Timed> {
        let at_least = if known.is_some() { 0 } else { 2 };
        let mut best = known;
        for (i, candidate) in all.iter().enumerate() {
            if i >= at_least && best.is_some() && self.start.elapsed().as_secs_f64() > self.budget {
                break;
            }
            let Some(seconds) = self.time(*candidate, n_columns).await? else { continue };
            if best.is_none_or(|(_, least)| seconds < MARGIN * least) {
                best = Some((*candidate, seconds));
            }
        }
        let wrong = "every shader for products gives wrong results on this device; another driver may help";
        best.ok_or(Error::Gpu { during: "choosing shaders", reason: wrong.into() })
    }

    /// Columns of a chunk: many where they take less time each than few.
    async fn chunk(&self, choices: Choices) -> Result<u32> {
        let Some(few) = self.time(choices, NARROW_CHUNK).await?.filter(|seconds| *seconds < BUSY) else {
            return Ok(NARROW_CHUNK);
        };
        let times = f64::from(WIDE_CHUNK / NARROW_CHUNK);
        let many = self.time(choices, WIDE_CHUNK).await?;
        Ok(if many.is_some_and(|seconds| seconds < MARGIN * times * few) { WIDE_CHUNK } else { NARROW_CHUNK })
    }

    /// Seconds of all products with `n_columns` columns, or none where a result is wrong.
    async fn time_right(&self, candidate: Choices, n_columns: u32) -> Result<Option<f64>> {
        let (program, nmse) = self.probe.run(self.gpu, candidate, n_columns).await?;
        // NaN is not right.
        if nmse > max_nmse(candidate.math) || nmse.is_nan() {
            return Ok(None);
        }
        if candidate.is_wide() {
            // Its clocks sank while a shader was compiled.
            let all: Vec<usize> = (0..program.n_dispatches()).collect();
            self.gpu.time_some(&program, &all, MAX_TIMES).await?;
        }
        fastest(self.gpu, &program).await.map(Some)
    }

    /// Seconds of a candidate, or none where it is wrong or the driver refuses it; an error where the device is gone.
    async fn time(&self, candidate: Choices, n_columns: u32) -> Result<Option<f64>> {
        let name = &self.gpu.info().name;
        match self.time_right(candidate, n_columns).await {
            Ok(None) => tracing::warn!("{name}: wrong results with {candidate}: it is not used"),
            Err(error) => {
                self.gpu.begin("choosing shaders")?;
                tracing::warn!("{name}: {candidate}: {error}: it is not used");
            }
            Ok(Some(seconds)) => {
                tracing::debug!("{n_columns} columns with {candidate}: {:.3} ms", seconds * 1e3);
                return Ok(Some(seconds));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_tunings_are_none_yet() {
        for text in ["", "{", "[]", r#"{"GPU": {"one-column": "magic"}}"#, r#"{"GPU": 3}"#] {
            assert_eq!(Tunings::from_json(text), Tunings::default(), "{text}");
        }
    }
}
