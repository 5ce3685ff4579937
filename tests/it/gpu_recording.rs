//! The recorded decode step of a toy model as text: a forgotten, doubled or moved dispatch shows as a difference.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::toy::Toy;
use std::rc::Rc;
use trice::gpu::Gpu;
use trice::session::{LoadOptions, Session};

/// Set `BLESS=1` to write what was found.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/decode_step.txt");

fn decode_step(gpu: Gpu) -> String {
    let options = LoadOptions::default();
    let session = block_on(Session::load(&Rc::new(gpu), &Toy::llama().open(), &options, &mut |_| {})).unwrap();
    session.describe().unwrap()
}

#[test]
fn gpu_the_decode_step_is_the_golden_one() {
    let Some(gpu) = raw_gpu() else { return };
    let found = decode_step(gpu.without_subgroups());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(GOLDEN, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(GOLDEN).unwrap();
    assert_eq!(found, wanted, "if it is meant to change, look at the difference and run once with BLESS=1");
}

/// Which lanes share the work is a device's affair; what is done is not.
#[test]
fn gpu_subgroups_change_shaders_and_nothing_else() {
    let Some(gpu) = raw_gpu() else { return };
    if !gpu.caps().subgroups {
        println!("skipped: a device without subgroups");
        return;
    }
    let kernels = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    assert_eq!(kernels(&decode_step(gpu)), kernels(&std::fs::read_to_string(GOLDEN).unwrap()));
}

/// Small models are bound by their dispatches: five per layer, three around them.
#[test]
fn gpu_a_token_takes_few_dispatches() {
    let Some(gpu) = raw_gpu() else { return };
    assert_eq!(decode_step(gpu).lines().count(), 5 * 2 + 3);
}
