//! Real small models on the GPU against their references: tokens, logits, likelihoods, vectors, accuracies.

use crate::common::gpu::{block_on, has_f16, open_bytes, open_folder, raw_gpu, test_gpu};
use crate::common::{llama2c, shared};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::gpu::{Choices, Gpu, Math};
use trice::kernels::tune::{Tunings, tune};
use trice::session::{GenerateOptions, KvType, LoadOptions, Session};
use trice::tasks::{Scaling, TextEncoder};
use trice::text::SamplingParams;

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn load_session(gpu: &Rc<Gpu>, folder: &str, kv_type: KvType) -> Session {
    let checkpoint = open_folder(folder);
    let options = LoadOptions { kv_type, ..LoadOptions::default() };
    block_on(Session::load(gpu, &checkpoint, &options, &mut |_| {})).unwrap()
}

#[test]
fn tinystories_reproduces_its_reference() {
    let (Some(folder), Some(gpu)) = (shared("models/TinyStories-656K"), test_gpu()) else { return };
    let reference = json(&folder.join("reference.json"));
    for (kv_type, tolerance) in [(KvType::F32, 1e-3), (KvType::F16, 1e-2)] {
        let mut session = load_session(&gpu, "models/TinyStories-656K", kv_type);
        for case in reference["cases"].as_array().unwrap() {
            let prompt = session.raw_prompt(case["prompt"].as_str().unwrap()).unwrap();
            assert_eq!(prompt, ids(&case["prompt_ids"]));
            let logits = block_on(session.next_logits(&prompt)).unwrap();
            for (i, wanted) in floats(&case["first_step_logits_first8"]).iter().enumerate() {
                assert!((logits[i] - wanted).abs() < tolerance, "{kv_type:?} logit {i}: {} not {wanted}", logits[i]);
            }
            let options = GenerateOptions { max_tokens: Some(120), ..GenerateOptions::default() };
            let mut streamed = String::new();
            let answer = block_on(session.generate(&prompt, &options, &mut |piece| {
                streamed.push_str(piece.text);
                ControlFlow::Continue(())
            }))
            .unwrap();
            let mut wanted = ids(&case["generated_ids"]);
            wanted.retain(|id| *id != 2);
            assert_eq!(answer.tokens, wanted, "{kv_type:?} after {:?}", case["prompt"]);
            assert_eq!(streamed, answer.text);
        }
    }
}

#[test]
fn prefix_reuse_and_logprobs_give_the_same_tokens() {
    let (Some(_), Some(gpu)) = (shared("models/TinyStories-656K"), test_gpu()) else { return };
    let mut session = load_session(&gpu, "models/TinyStories-656K", KvType::F32);
    let prompt = session.raw_prompt("Once upon a time").unwrap();
    let options = GenerateOptions { max_tokens: Some(40), ..GenerateOptions::default() };
    let mut quiet = |_: trice::session::Piece<'_>| ControlFlow::Continue(());
    let first = block_on(session.generate(&prompt, &options, &mut quiet)).unwrap();
    let longer: Vec<u32> = prompt.iter().chain(&first.tokens[..20]).copied().collect();
    let again = block_on(session.generate(&longer, &options, &mut quiet)).unwrap();
    assert_eq!(again.tokens[..20], first.tokens[20..40]);
    let options = GenerateOptions { logprobs: Some(3), ..options };
    let slow = block_on(session.generate(&prompt, &options, &mut quiet)).unwrap();
    assert_eq!(slow.tokens, first.tokens);
    for step in slow.logprobs.unwrap() {
        assert_eq!(step.top.len(), 3);
        assert_eq!((step.id, step.logprob), (step.top[0].id, step.top[0].logprob), "greedy takes the best");
    }
}

#[test]
fn tinystories_has_its_perplexity() {
    let (Some(folder), Some(text), Some(gpu)) =
        (shared("models/TinyStories-656K"), shared("data/tinystories/tinystories_train_head_2MiB.txt"), test_gpu())
    else {
        return;
    };
    let wanted = json(&folder.join("reference.json"))["tinystories_first60"]["ppl"].as_f64().unwrap();
    let mut session = load_session(&gpu, "models/TinyStories-656K", KvType::F16);
    let text = std::fs::read_to_string(text).unwrap();
    let (mut sum, mut n) = (0.0, 0);
    for story in text.split("<|endoftext|>").take(60) {
        let mut ids = session.raw_prompt(story.trim()).unwrap();
        ids.truncate(512);
        sum += block_on(session.nll(&ids)).unwrap();
        n += ids.len() - 1;
    }
    let perplexity = (sum / n as f64).exp();
    assert!((perplexity / wanted - 1.0).abs() < 1e-3, "perplexity {perplexity}, {wanted} was wanted");
}

#[test]
fn stories260k_tells_its_story_byte_for_byte() {
    let (Some(folder), Some(gpu)) = (shared("models/stories260K"), test_gpu()) else { return };
    let bin = std::fs::read(folder.join("stories260K.bin")).unwrap();
    let tok = std::fs::read(folder.join("tok512.bin")).unwrap();
    let checkpoint = open_bytes("stories260K.gguf", llama2c::to_gguf(&bin, &tok));
    let options = LoadOptions::default();
    let mut session = block_on(Session::load(&gpu, &checkpoint, &options, &mut |_| {})).unwrap();
    let prompt = session.raw_prompt("").unwrap();
    let options = GenerateOptions { max_tokens: Some(200), ..GenerateOptions::default() };
    let answer = block_on(session.generate(&prompt, &options, &mut |_| ControlFlow::Continue(()))).unwrap();
    let wanted = std::fs::read_to_string(folder.join("expected_greedy_200.txt")).unwrap();
    let text = answer.text.strip_prefix(' ').unwrap_or(&answer.text);
    assert_eq!(text, wanted.trim_end_matches('\n'));
}

#[test]
fn minilm_gives_its_vectors_alone_and_in_a_batch() {
    let (Some(folder), Some(gpu)) = (shared("models/all-MiniLM-L6-v2"), test_gpu()) else { return };
    let reference = json(&folder.join("reference.json"));
    let checkpoint = open_folder("models/all-MiniLM-L6-v2");
    let mut encoder = block_on(TextEncoder::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap();
    // sentence_bert_config.json: it learnt from 256 tokens at most, although it has 512 positions.
    assert_eq!(encoder.encode(&"word ".repeat(1000)).unwrap().len(), 256);
    let sentences = reference["sentences"].as_array().unwrap();
    let texts: Vec<&str> = sentences.iter().map(|s| s["text"].as_str().unwrap()).collect();
    let batch = block_on(encoder.embed(&texts, None, Scaling::Unit)).unwrap();
    for (i, sentence) in sentences.iter().enumerate() {
        assert_eq!(encoder.encode(texts[i]).unwrap(), ids(&sentence["ids"]));
        let wanted = floats(&sentence["embedding"]);
        let alone = block_on(encoder.embed(&texts[i..=i], None, Scaling::Unit)).unwrap();
        assert_eq!(alone[0], batch[i], "a text's vector depends on its neighbours");
        let cosine: f32 = batch[i].iter().zip(&wanted).map(|(a, b)| a * b).sum();
        assert!(cosine >= 0.99999, "sentence {i}: cosine {cosine}");
    }
}

#[test]
fn minilm_sst2_gives_its_logits() {
    let (Some(folder), Some(gpu)) = (shared("models/minilm-sst2"), test_gpu()) else { return };
    let reference = json(&folder.join("reference.json"));
    let checkpoint = open_folder("models/minilm-sst2");
    let mut encoder = block_on(TextEncoder::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap();
    assert_eq!(encoder.labels(), ["NEGATIVE", "POSITIVE"]);
    let cases = reference["texts"].as_array().unwrap();
    let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
    let rows = block_on(encoder.logits(&texts)).unwrap();
    for (row, case) in rows.iter().zip(cases) {
        for (value, wanted) in row.iter().zip(floats(&case["logits"])) {
            assert!((value - wanted).abs() < 2e-3, "{}: {value}, {wanted} was wanted", case["text"]);
        }
    }
}

/// The built-in models need nothing beside the checkout: their greedy tokens, logits and labels.
#[test]
fn the_built_in_models_give_their_references() {
    let Some(gpu) = test_gpu() else { return };
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let open = |name: &str| open_bytes(name, std::fs::read(models.join(name)).unwrap());
    let options = LoadOptions { kv_type: KvType::F32, ..LoadOptions::default() };
    let mut session = block_on(Session::load(&gpu, &open("stories.gguf"), &options, &mut |_| {})).unwrap();
    for case in json(&models.join("stories.reference.json"))["cases"].as_array().unwrap() {
        let prompt = session.raw_prompt(case["prompt"].as_str().unwrap()).unwrap();
        assert_eq!(prompt, ids(&case["prompt_ids"]));
        let request = GenerateOptions { max_tokens: Some(60), ..GenerateOptions::default() };
        let answer = block_on(session.generate(&prompt, &request, &mut |_| ControlFlow::Continue(()))).unwrap();
        assert_eq!(answer.tokens, ids(&case["greedy_ids"]), "{}", case["prompt"]);
    }
    for name in ["sentiment", "intent", "embed"] {
        let checkpoint = open(&format!("{name}.gguf"));
        let mut encoder = block_on(TextEncoder::load(&gpu, &checkpoint, &options, &mut |_| {})).unwrap();
        let reference = json(&models.join(format!("{name}.reference.json")));
        assert_eq!(json!(encoder.labels()), reference["labels"], "{name}");
        for case in reference["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(encoder.encode(text).unwrap(), ids(&case["ids"]));
            let (found, wanted) = match encoder.labels() {
                [] => (block_on(encoder.embed(&[text], None, Scaling::Unit)), &case["vector"]),
                _ => (block_on(encoder.logits(&[text])), &case["logits"]),
            };
            let (found, wanted) = (found.unwrap().swap_remove(0), floats(wanted));
            assert_eq!(found.len(), wanted.len(), "{name}: {text}");
            for (value, wanted) in found.iter().zip(wanted) {
                assert!((value - wanted).abs() < 2e-3, "{name}: {text}: {value}, {wanted} was wanted");
            }
        }
    }
}

/// Shaders differ in speed only: each, forced in turn, with subgroups and without, writes the same greedy tokens.
#[test]
fn every_variant_gives_the_same_tokens() {
    // With the prompt past the first part of attention on a device that only many fill.
    const N: usize = 60;
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let cases = json(&models.join("stories.reference.json"));
    let options = LoadOptions { kv_type: KvType::F32, ..LoadOptions::default() };
    for variants in [
        ["one-column=team-1", "tile-columns=8", "share=broadcast", "chunk=512"],
        ["one-column=team-2", "tile-columns=8", "share=broadcast", "chunk=128"],
        ["one-column=team-8", "tile-columns=8", "share=shuffle", "chunk=128"],
        ["one-column=tile-16", "tile-columns=4", "share=shuffle", "chunk=512"],
        ["one-column=tile-64", "tile-columns=16", "share=broadcast", "chunk=128"],
    ] {
        let mut choices = Choices::default();
        variants.iter().for_each(|assignment| choices.set(assignment).unwrap());
        for has_subgroups in [true, false] {
            let Some(gpu) = raw_gpu() else { return };
            let gpu = if has_subgroups { gpu } else { gpu.without_subgroups() };
            let gpu = Rc::new(gpu.with_choices(choices));
            let checkpoint = open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap());
            let mut session = block_on(Session::load(&gpu, &checkpoint, &options, &mut |_| {})).unwrap();
            let case = &cases["cases"][0];
            let request = GenerateOptions { max_tokens: Some(N), ..GenerateOptions::default() };
            let prompt = ids(&case["prompt_ids"]);
            let answer = block_on(session.generate(&prompt, &request, &mut |_| ControlFlow::Continue(()))).unwrap();
            assert_eq!(answer.tokens, ids(&case["greedy_ids"])[..N], "{choices} with subgroups: {has_subgroups}");
        }
    }
}

#[test]
fn tiles_of_16_bit_floats_agree_on_what_comes_next() {
    if has_f16() {
        check_what_comes_next(Math::F16);
    }
}

#[test]
fn tiles_of_8_bit_integers_agree_on_what_comes_next() {
    check_what_comes_next(Math::Int8);
}

/// What comes next after windows of a text, as with 32-bit floats but for the nearest of ties. Windows begin at different tokens, so
/// that every one is a prompt of its own.
fn check_what_comes_next(math: Math) {
    const WINDOW: usize = 24;
    const N_WINDOWS: usize = 100;
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let case = &json(&models.join("stories.reference.json"))["cases"][0];
    let session = |gpu: Gpu| {
        let checkpoint = open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap());
        block_on(Session::load(&Rc::new(gpu), &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap()
    };
    let Some(gpu) = raw_gpu() else { return };
    let mut in_f32 = session(gpu);
    let n_tokens = WINDOW + N_WINDOWS;
    let sampling = SamplingParams { temperature: 1.0, seed: 7, ..SamplingParams::default() };
    let request =
        GenerateOptions { max_tokens: Some(n_tokens), sampling, ignore_end: true, ..GenerateOptions::default() };
    let prompt = ids(&case["prompt_ids"]);
    let answer = block_on(in_f32.generate(&prompt, &request, &mut |_| ControlFlow::Continue(()))).unwrap();
    let text = [prompt, answer.tokens].concat();
    let windows: Vec<_> = text.windows(WINDOW).take(N_WINDOWS).collect();
    let next = |session: &mut Session| -> Vec<Vec<f32>> {
        windows.iter().map(|window| block_on(session.next_logits(window)).unwrap()).collect()
    };
    let wanted = next(&mut in_f32);
    for has_subgroups in [true, false] {
        let Some(gpu) = raw_gpu() else { return };
        let gpu = if has_subgroups { gpu } else { gpu.without_subgroups() };
        let found = next(&mut session(gpu.with_choices(Choices { math, ..Choices::default() })));
        let (mut n_agree, mut error, mut power) = (0, 0.0, 0.0);
        for (found, wanted) in found.iter().zip(&wanted) {
            n_agree += usize::from(best(found) == best(wanted));
            error += found.iter().zip(wanted).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            power += wanted.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>();
        }
        let nmse = error / power;
        println!("{math:?}, subgroups {has_subgroups}: {n_agree} of {} agree, NMSE {nmse:.1e}", windows.len());
        assert!(n_agree * 100 >= windows.len() * 99, "{math:?}: {n_agree} of {}", windows.len());
        assert!(nmse > 0.0, "{math:?} was not used");
        assert!(nmse <= 1e-3, "{math:?}: NMSE {nmse}");
    }
}

fn best(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
}

/// Measuring chooses among right shaders and is kept under the device's name.
#[test]
fn tuning_chooses_shaders_and_keeps_them() {
    let Some(gpu) = test_gpu() else { return };
    let choices = block_on(tune(&gpu)).unwrap();
    let mut tunings = Tunings::default();
    assert_eq!(tunings.of(gpu.info()), None);
    tunings.keep(gpu.info(), choices);
    let again = Tunings::from_json(&tunings.to_json());
    assert_eq!(again.of(gpu.info()), Some(choices));
    let other = trice::gpu::DeviceInfo { driver: "another driver".into(), ..gpu.info().clone() };
    assert_eq!(again.of(&other), None, "a new driver may change what is fastest");
}
