//! What is measured: roofs are numbers, a profile holds every dispatch of its program, whoever's clock timed it.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::toy::{CONTEXT, N_LAYERS, Toy};
use std::rc::Rc;
use trice::Error;
use trice::gpu::Gpu;
use trice::measure::profile::{Clock, Phase};
use trice::measure::{BenchOptions, ProfileOptions, ProfileReport, Roofs};
use trice::measure::{bench_decoder, profile_decoder, profile_encoder};
use trice::session::{LoadOptions, Session};
use trice::tasks::TextEncoder;

const OPTIONS: ProfileOptions = ProfileOptions { n_prompt: 20, n_context: 30, n_batch: 1 };

fn decoder(gpu: Gpu) -> Session {
    block_on(Session::load(&Rc::new(gpu), &Toy::llama().open(), &LoadOptions::default(), &mut |_| {})).unwrap()
}

fn encoder(gpu: Gpu) -> TextEncoder {
    block_on(TextEncoder::load(&Rc::new(gpu), &Toy::bert().open(), &LoadOptions::default(), &mut |_| {})).unwrap()
}

/// The device with its clock, and the same as one that has none.
fn clocks() -> Vec<Gpu> {
    let Some(gpu) = raw_gpu() else { return Vec::new() };
    std::iter::once(gpu).chain(raw_gpu().map(Gpu::without_timestamps)).collect()
}

#[test]
fn gpu_roofs_are_positive_and_finite() {
    let Some(gpu) = raw_gpu() else { return };
    let has_f16 = gpu.info().f16;
    let roofs = block_on(Roofs::measure(&gpu));
    assert_eq!(roofs.failures, Vec::<String>::new());
    let figures = [roofs.read_gbytes_per_s, roofs.f32_gflops, roofs.dot8_gops, roofs.dispatch_us, roofs.read_back_us];
    for figure in figures {
        assert!(figure.is_some_and(|figure| figure.is_finite() && figure > 0.0), "{roofs:?}");
    }
    assert_eq!(roofs.f16_gflops.is_some_and(|figure| figure.is_finite() && figure > 0.0), has_f16, "{roofs:?}");
}

#[test]
fn gpu_a_lost_device_has_no_roofs_and_says_why() {
    let Some(gpu) = raw_gpu() else { return };
    gpu.destroy();
    let roofs = block_on(Roofs::measure(&gpu));
    assert!(roofs.read_gbytes_per_s.is_none() && roofs.f32_gflops.is_none(), "{roofs:?}");
    assert!(roofs.failures.len() >= 5, "{:?}", roofs.failures);
}

/// How many dispatches of a kernel a phase holds.
fn count(phase: &Phase, kernel: &str) -> usize {
    phase.kernels.iter().filter(|time| time.kernel == kernel).map(|time| time.count).sum()
}

fn check_phase(phase: &Phase) {
    let name = phase.name;
    assert_eq!(phase.kernels.iter().map(|kernel| kernel.count).sum::<usize>(), phase.dispatches, "{name}: {phase:?}");
    let shares: f64 = phase.kernels.iter().map(|kernel| kernel.share).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{name}: shares sum to {shares}");
    assert!(phase.kernels.is_sorted_by(|a, b| a.ms >= b.ms), "{name}: {:?}", phase.kernels);
    assert!(phase.wall_ms > 0.0 && phase.kernels_ms > 0.0, "{name}: {phase:?}");
    assert!((phase.gap_ms - (phase.wall_ms - phase.kernels_ms)).abs() < 1e-9, "{name}: {phase:?}");
    assert!(phase.bottleneck.starts_with(&format!("{name}: ")), "{}", phase.bottleneck);
}

fn phases(report: &ProfileReport) -> Vec<(&str, usize, usize)> {
    report.phases.iter().map(|phase| (phase.name, phase.n_tokens, phase.context)).collect()
}

#[test]
fn gpu_a_decoders_profile_covers_its_programs() {
    for gpu in clocks() {
        let has_clock = gpu.info().timestamps;
        let mut session = decoder(gpu);
        let dispatches = session.describe().unwrap().lines().count();
        let report = block_on(profile_decoder(&mut session, &OPTIONS, &mut |_, _| {})).unwrap();
        assert_eq!(phases(&report), [("prefill", 20, 0), ("decode", 1, 29)]);
        report.phases.iter().for_each(check_phase);
        // Without timestamps the host's clock is all there is; with them the device's may still show nonsense.
        assert!(has_clock || report.phases.iter().all(|phase| phase.clock == Clock::Host));
        let n_layers = N_LAYERS as usize;
        let [prefill, decode] = report.phases.as_slice() else { panic!("{} phases", report.phases.len()) };
        for phase in [prefill, decode] {
            assert_eq!(count(phase, "attention"), n_layers, "{}", phase.name);
            let qkv = count(phase, "matmul_qkv") + count(phase, "matvec_qkv");
            assert_eq!(qkv, n_layers, "{}", phase.name);
            assert_eq!(count(phase, "sample"), 1, "{}", phase.name);
        }
        assert_eq!((decode.dispatches, decode.submits), (dispatches, 1));
    }
}

#[test]
fn gpu_an_encoders_profile_covers_its_program() {
    for gpu in clocks() {
        let mut encoder = encoder(gpu);
        let options = ProfileOptions { n_batch: 3, ..OPTIONS };
        let report = block_on(profile_encoder(&mut encoder, &options, &mut |_, _| {})).unwrap();
        assert_eq!(phases(&report), [("batch", 60, 0)]);
        check_phase(&report.phases[0]);
        assert_eq!(count(&report.phases[0], "attention"), N_LAYERS as usize);
        assert_eq!(count(&report.phases[0], "pool"), 1);
    }
}

#[test]
fn gpu_a_profile_stays_within_the_context() {
    let Some(gpu) = raw_gpu() else { return };
    let mut session = decoder(gpu);
    for (n_prompt, n_context) in [(CONTEXT as usize, 1), (1, CONTEXT as usize)] {
        let options = ProfileOptions { n_prompt, n_context, n_batch: 1 };
        let outcome = block_on(profile_decoder(&mut session, &options, &mut |_, _| {}));
        assert!(matches!(outcome, Err(Error::Limit { .. })), "{n_prompt} and {n_context}: {outcome:?}");
    }
}

/// The toy: 2 layers, 4 heads of 16 and 2 of keys, 64 wide, 256 in the middle, 259 tokens, all in f32.
#[test]
fn gpu_a_bench_counts_what_a_token_has_to_do() {
    let Some(gpu) = raw_gpu() else { return };
    let mut session = decoder(gpu);
    let options = BenchOptions { n_prompt: 4, n_generate: 3, n_batch: 1, repetitions: 1 };
    let report = block_on(bench_decoder(&mut session, &options, &mut |_, _| {})).unwrap();
    let products = 2.0 * (2.0 * (64.0 * 128.0 + 64.0 * 64.0 + 64.0 * 512.0 + 256.0 * 64.0) + 64.0 * 259.0);
    let weights = 2.0 * products;
    let [prefill, decode] = report.tests.as_slice() else { panic!("{} tests", report.tests.len()) };
    // Products are nearly all there is; norms, attention over few positions and the sampler are the rest.
    assert!(decode.flops_per_token > products && decode.flops_per_token < products * 1.1, "{decode:?}");
    assert!(decode.bytes_per_token > weights && decode.bytes_per_token < weights * 1.2, "{decode:?}");
    // Four tokens share the layers' weights and the head.
    assert!(prefill.flops_per_token < products && prefill.bytes_per_token < weights / 2.0, "{prefill:?}");
    assert_eq!(decode.submits_per_token, Some(1.0));
}
