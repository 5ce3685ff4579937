//! Tiny random decoders against torch and transformers (tests/golden/tiny_models.py): grouped heads, tied and untied heads,
//! biases, every rope scaling, sizes that are no multiple of anything. Weights are a hash, made here as there.

use crate::common::gpu::{block_on, test_gpu};
use crate::common::reference::check;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::hub::ModelFiles;
use trice::kernels::attention::KvType;
use trice::model::decoder::{Decoder, Room, Speculation};
use trice::source::{MemorySource, Source};
use trice::text::SamplingParams;

const MODELS: &str = include_str!("../golden/tiny_models.json");

/// The script's `fill`: FNV-1a of the name, then splitmix64.
fn fill(name: &str, n: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    let center = if name.contains("norm") { 1.0 } else { 0.0 };
    (1..=n as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f32 / (1 << 24) as f32 * 2.0 - 1.0) * 0.15 + center
        })
        .collect()
}

/// A folder in memory: `config.json` and safetensors.
fn folder(model: &Value) -> Checkpoint {
    let tensors = model["tensors"].as_object().unwrap().iter().map(|(name, shape)| {
        let shape: Vec<usize> = shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let weights = fill(name, shape.iter().product());
        (name.clone(), shape, bytemuck::cast_slice::<f32, u8>(&weights).to_vec())
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let weights = safetensors::serialize(views, None).unwrap();
    let memory = |name: &str, bytes: Vec<u8>| -> Rc<dyn Source> { Rc::new(MemorySource::new(name, bytes)) };
    let config = memory("config.json", model["config"].to_string().into_bytes());
    block_on(Checkpoint::open(ModelFiles {
        name: "tiny".to_owned(),
        weights: vec![memory("model.safetensors", weights)],
        side: BTreeMap::from([("config.json".to_owned(), config)]),
    }))
    .unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn load(gpu: &Gpu, model: &Value) -> Decoder {
    let checkpoint = folder(model);
    let room = Room { context_len: 128, n_slots: 1, kv_type: KvType::F32, speculation: Speculation::None };
    let loading = block_on(Decoder::load(gpu, &checkpoint, room)).unwrap();
    let loading = block_on(loading.read(&mut |_| Ok(()))).unwrap();
    let decoder = block_on(loading.finish(&mut |_, _| Ok(()))).unwrap();
    decoder.set_sampling(gpu, &SamplingParams::default());
    decoder
}

#[test]
fn tiny_decoders_give_torchs_logits_and_tokens() {
    let Some(gpu) = test_gpu() else { return };
    let models: BTreeMap<String, Value> = serde_json::from_str(MODELS).unwrap();
    assert_eq!(models.len(), 5);
    for (name, model) in &models {
        let decoder = load(&gpu, model);
        let (prompt, tokens) = (ids(&model["prompt"]), ids(&model["tokens"]));
        let wanted: Vec<Vec<f64>> = serde_json::from_value(model["logits"].clone()).unwrap();
        // The prompt in one chunk, then in uneven ones: the same logits.
        for chunk in [prompt.len(), 23, 1] {
            for (i, part) in prompt.chunks(chunk).enumerate() {
                decoder.prefill(&gpu, i * chunk, part).unwrap();
            }
            decoder.prefill_head(&gpu).unwrap();
            let logits = block_on(decoder.logits(&gpu)).unwrap();
            check(&format!("{name}, chunks of {chunk}"), &logits, &wanted[0], 1e-6);
        }
        decoder.sample(&gpu, None).unwrap();
        for i in 1..tokens.len() {
            decoder.decode_to_logits(&gpu, prompt.len() + i).unwrap();
            decoder.sample(&gpu, None).unwrap();
        }
        let bytes = block_on(gpu.read(decoder.history(), prompt.len() as u64 * 4, tokens.len() as u64 * 4)).unwrap();
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes), tokens, "{name}");
    }
}
