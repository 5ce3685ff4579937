//! Decoders: a prompt in one chunk, in uneven ones and id by id gives the same logits, and ten greedy steps torch's logits and ids.

use super::{Outcome, compare};
use crate::common::gpu::block_on;
use crate::common::hashed::{Golden, ids, read_goldens, unpack};
use trice::Result;
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::kernels::attention::KvType;
use trice::model::decoder::{Decoder, Room, Speculation};
use trice::text::SamplingParams;

const GOLDENS: &str = include_str!("../../golden/decoders.json");

test_families!(
    gemma,
    gemma2,
    gemma3_text,
    gpt2,
    gpt_neox,
    granite,
    llama,
    mistral,
    olmo2,
    phi,
    phi3,
    qwen2,
    qwen3,
    smollm3,
    stablelm,
    starcoder2,
);

pub(super) fn goldens() -> Vec<Golden> {
    read_goldens(GOLDENS)
}

/// The model's results on all of `golden`.
pub(super) fn run(gpu: &Gpu, golden: &Golden, checkpoint: &Checkpoint) -> Outcome {
    let context_len = golden.0["context"].as_u64().unwrap() as u32;
    let decoder = load(gpu, checkpoint, context_len).map_err(|error| error.to_string())?;
    let (prompt, tokens) = (ids(&golden.0["prompt"]), ids(&golden.0["tokens"]));
    let wanted = unpack(&golden.0["logits"], tokens.len() + 1);
    let mut worst = 0f64;
    for chunk in [prompt.len(), 23, 1] {
        for (i, part) in prompt.chunks(chunk).enumerate() {
            decoder.prefill(gpu, i * chunk, part).unwrap();
        }
        decoder.prefill_head(gpu).unwrap();
        let logits = block_on(decoder.logits(gpu)).unwrap();
        worst = worst.max(compare(&format!("the prompt in chunks of {chunk}"), &logits, &wanted[0])?);
    }
    for (i, wanted) in wanted[1..].iter().enumerate() {
        decoder.sample(gpu, None).unwrap();
        decoder.decode_to_logits(gpu, prompt.len() + i + 1).unwrap();
        let logits = block_on(decoder.logits(gpu)).unwrap();
        worst = worst.max(compare(&format!("step {i}"), &logits, wanted)?);
    }
    let bytes = block_on(gpu.read(decoder.history(), prompt.len() as u64 * 4, tokens.len() as u64 * 4)).unwrap();
    match bytemuck::pod_collect_to_vec::<u8, u32>(&bytes) {
        found if found == tokens => Ok(worst),
        found => Err(format!("the tokens {found:?}, {tokens:?} were wanted")),
    }
}

fn load(gpu: &Gpu, checkpoint: &Checkpoint, context_len: u32) -> Result<Decoder> {
    let room = Room { context_len, n_slots: 1, kv_type: KvType::F32, speculation: Speculation::None };
    let loading = block_on(Decoder::load(gpu, checkpoint, room))?;
    let loading = block_on(loading.read(&mut |_| Ok(())))?;
    let decoder = block_on(loading.finish(&mut |_, _| Ok(())))?;
    decoder.set_sampling(gpu, &SamplingParams::default());
    Ok(decoder)
}

/// Gemma 3's folders of 4B and more nest the text model's config, leave out what the class has by default, and hold a vision tower.
#[test]
fn gemma3_beside_a_vision_tower() {
    let Some(gpu) = crate::common::gpu::test_gpu() else { return };
    let goldens = goldens();
    let golden = goldens.iter().find(|golden| golden.name() == "gemma3").unwrap();
    let by_default = ["rms_norm_eps", "rope_theta", "rope_local_base_freq", "sliding_window_pattern", "attention_bias"];
    run(&gpu, golden, &golden.nested_folder("gemma3", &by_default)).unwrap();
}
