//! The roofs of a device: what it reads, computes and dispatches at best, measured with kernels of its own. What a model
//! reaches is told as a share of them.

use crate::error::Result;
use crate::gpu::{Cost, Extent, Gpu, Program, Recording};
use crate::kernels::roof::{ARITH_THREADS, Element, READ_THREADS, STEPS, arith, read};
use serde::Serialize;
use web_time::Instant;

/// What a device does at best. A figure is null where the device lacks the feature or the measurement failed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Roofs {
    /// 10⁹ bytes read per second.
    pub read_gbytes_per_s: Option<f64>,
    /// 10⁹ operations per second on 32-bit floats: a multiplication and an addition count two.
    pub f32_gflops: Option<f64>,
    /// The same on 16-bit floats.
    pub f16_gflops: Option<f64>,
    /// The same on packed 8-bit integers (`dot4I8Packed`): eight to a word.
    pub dot8_gops: Option<f64>,
    /// Microseconds of a dispatch that does next to nothing, among many in one pass.
    pub dispatch_us: Option<f64>,
    /// Microseconds from submitting to having 4 bytes back on an idle device.
    pub read_back_us: Option<f64>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

/// Which roof a piece of work stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Roof {
    /// The read bandwidth.
    Read,
    /// The rate of 32-bit floats.
    F32,
}

impl Roof {
    /// `read`, `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::F32 => "f32",
        }
    }
}

/// Seconds a measured run takes at least: a millionfold of the clock's and the submit's jitter.
const LONG_ENOUGH: f64 = 0.02;

/// Runs of the length that was found, at least; the fastest counts.
const MIN_RUNS: usize = 3;

/// Seconds for more of them: what else the machine does shall not lower a roof.
const BUDGET: f64 = 0.15;

/// Dispatches of the pass that times one.
const N_EMPTY: usize = 500;

/// Read-backs, of which the middle one counts.
const N_READ_BACKS: usize = 9;

/// Bytes that are read, where a binding holds as many: more than the caches of its kind of device.
fn read_bytes(gpu: &Gpu) -> u64 {
    let wanted = if gpu.info().kind == "discrete" { 256 << 20 } else { 64 << 20 };
    wanted.min(gpu.info().max_binding_bytes) / 16 * 16
}

impl Roofs {
    /// Measures everything; what fails is told in `failures` and does not keep the rest from being measured.
    pub async fn measure(gpu: &Gpu) -> Self {
        let mut roofs = Self::default();
        let mut told = |what: &str, outcome: Result<f64>| match outcome {
            Ok(value) if value.is_finite() && value > 0.0 => Some(value),
            Ok(value) => {
                roofs.failures.push(format!("{what}: measured {value}"));
                None
            }
            Err(error) => {
                roofs.failures.push(format!("{what}: {error}"));
                // The error is told: a model on the same device shall not be stopped by it.
                let _ = gpu.begin("measuring the device");
                None
            }
        };
        let read = told("read bandwidth", read_bandwidth(gpu).await);
        let f32_rate = told("32-bit floats", arithmetic(gpu, Element::F32).await);
        let f16_rate = if gpu.info().f16 { told("16-bit floats", arithmetic(gpu, Element::F16).await) } else { None };
        let dot8_rate = told("packed 8-bit integers", arithmetic(gpu, Element::Dot8).await);
        let dispatch = told("a dispatch", empty_dispatch(gpu).await);
        let read_back = told("a read-back", read_back(gpu).await);
        Self {
            read_gbytes_per_s: read.map(|rate| rate / 1e9),
            f32_gflops: f32_rate.map(|rate| rate / 1e9),
            f16_gflops: f16_rate.map(|rate| rate / 1e9),
            dot8_gops: dot8_rate.map(|rate| rate / 1e9),
            dispatch_us: dispatch.map(|seconds| seconds * 1e6),
            read_back_us: read_back.map(|seconds| seconds * 1e6),
            ..roofs
        }
    }

    /// The roof that `cost` stands under, and the share of it that `seconds` make; none without a measured roof or without
    /// work.
    pub fn share(&self, cost: &Cost, seconds: f64) -> Option<(Roof, f64)> {
        let read = self.read_gbytes_per_s.map(|rate| (Roof::Read, cost.n_bytes() as f64 / (rate * 1e9)));
        let f32 = self.f32_gflops.map(|rate| (Roof::F32, cost.flops as f64 / (rate * 1e9)));
        let (roof, least) = [read, f32].into_iter().flatten().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (least > 0.0 && seconds > 0.0).then(|| (roof, least / seconds))
    }
}

/// The device's read bandwidth in bytes per second, measured in about 200 ms.
///
/// # Errors
/// `Gpu` when the device refuses or is lost.
pub async fn read_bandwidth(gpu: &Gpu) -> Result<f64> {
    let n_bytes = read_bytes(gpu);
    let x = gpu.buffer("bandwidth test", n_bytes)?;
    let y = gpu.buffer("bandwidth test", u64::from(READ_THREADS) * 4)?;
    let record = |rec: &mut Recording, n_reads: u32| (0..n_reads).for_each(|_| read(rec, &x, &y));
    Ok(n_bytes as f64 * per_second(gpu, 1, 1024, &record).await?)
}

/// Operations per second on `element`.
async fn arithmetic(gpu: &Gpu, element: Element) -> Result<f64> {
    let y = gpu.buffer("arithmetic test", u64::from(ARITH_THREADS) * 4)?;
    let record = |rec: &mut Recording, n: u32| arith(rec, element, n * STEPS, ARITH_THREADS, &y);
    Ok(cost_of(gpu, &record).flops as f64 * per_second(gpu, 1, 1 << 20, &record).await?)
}

/// What `record` has to do for one unit.
fn cost_of(gpu: &Gpu, record: &dyn Fn(&mut Recording, u32)) -> Cost {
    let mut rec = gpu.recording();
    record(&mut rec, 1);
    rec.cost(&Extent::default())
}

/// Seconds of a dispatch that does next to nothing, one of many in a pass that all write one buffer, as a model's do.
async fn empty_dispatch(gpu: &Gpu) -> Result<f64> {
    let y = gpu.buffer("dispatch test", 1024)?;
    let mut rec = gpu.recording();
    (0..N_EMPTY).for_each(|_| arith(&mut rec, Element::F32, 0, 64, &y));
    let program = gpu.program(&rec, &mut |_, _| {}).await?;
    Ok(fastest(gpu, &program).await? / N_EMPTY as f64)
}

/// Seconds from a submit to 4 bytes on the host.
async fn read_back(gpu: &Gpu) -> Result<f64> {
    let y = gpu.buffer("read-back test", 1024)?;
    let mut rec = gpu.recording();
    arith(&mut rec, Element::F32, 0, 64, &y);
    let program = gpu.program(&rec, &mut |_, _| {}).await?;
    let to = gpu.read_back(4);
    let mut times = Vec::new();
    for _ in 0..N_READ_BACKS {
        let start = Instant::now();
        gpu.submit(&program, Some((&y, 0, 4, &to)))?;
        gpu.fetch(&to, 4).await?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[N_READ_BACKS / 2])
}

/// How often per second the device does what `record` records of one unit: units are multiplied, up to `most`, until a run
/// is long enough to be timed.
async fn per_second(gpu: &Gpu, first: u32, most: u32, record: &dyn Fn(&mut Recording, u32)) -> Result<f64> {
    let mut n = first;
    loop {
        let mut rec = gpu.recording();
        record(&mut rec, n);
        let program = gpu.program(&rec, &mut |_, _| {}).await?;
        let seconds = run(gpu, &program).await?;
        if seconds >= LONG_ENOUGH || n >= most {
            return Ok(f64::from(n) / fastest(gpu, &program).await?.min(seconds));
        }
        // As much longer as it should be, and a half more; the first runs hold costs of their own.
        n = (f64::from(n) * (1.5 * LONG_ENOUGH / seconds).clamp(2.0, 16.0)).min(f64::from(most)) as u32;
    }
}

/// Seconds of the fastest of several runs.
async fn fastest(gpu: &Gpu, program: &Program) -> Result<f64> {
    let mut best = f64::INFINITY;
    let (start, mut n_runs) = (Instant::now(), 0);
    while n_runs < MIN_RUNS || start.elapsed().as_secs_f64() < BUDGET {
        best = best.min(run(gpu, program).await?);
        n_runs += 1;
    }
    Ok(best)
}

/// Seconds of a run, to its end.
async fn run(gpu: &Gpu, program: &Program) -> Result<f64> {
    let start = Instant::now();
    gpu.submit(program, None)?;
    gpu.flush("measuring the device").await?;
    Ok(start.elapsed().as_secs_f64())
}
