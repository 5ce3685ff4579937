//! LoRA adapters: a model with an adapter laid on it gives the results of torch and peft, whatever either is read from.

use super::{Form, decoders, encoders};
use crate::common::gguf_writer::GgufWriter;
use crate::common::gpu::{block_on, test_gpu};
use crate::common::hashed::{Golden, read_goldens};
use std::collections::BTreeMap;
use std::rc::Rc;
use trice::format::Checkpoint;
use trice::hub::ModelFiles;
use trice::source::MemorySource;

const GOLDENS: &str = include_str!("../../golden/lora.json");

/// A model in one form, an adapter in one form.
fn adapted(golden: &Golden, model: Form, adapter: Form) -> Option<Checkpoint> {
    let mut checkpoint = model.open(golden)?;
    let files = match adapter {
        Form::Folder => golden.adapter_folder(),
        Form::Gguf => golden.adapter_gguf()?,
    };
    block_on(checkpoint.adapt(files, 1.0)).unwrap();
    Some(checkpoint)
}

#[test]
fn adapters_add_what_peft_adds() {
    let Some(gpu) = test_gpu() else { return };
    let goldens = read_goldens(GOLDENS);
    assert_eq!(goldens.len(), 3);
    let mut n = 0;
    for golden in &goldens {
        // GGUF adapters are laid on GGUFs alone.
        for (model, adapter) in [(Form::Folder, Form::Folder), (Form::Gguf, Form::Folder), (Form::Gguf, Form::Gguf)] {
            let Some(checkpoint) = adapted(golden, model, adapter) else { continue };
            let run = if golden.0.get("task").is_some() { encoders::run } else { decoders::run };
            match run(&gpu, golden, &checkpoint) {
                Ok(worst) => println!("{}, {model:?} with {adapter:?} | NMSE {worst:.1e} at worst", golden.name()),
                Err(what) => panic!("{}, {model:?} with {adapter:?}: {what}", golden.name()),
            }
            n += 1;
        }
    }
    assert_eq!(n, 8);
}

/// An adapter of strength 0, and one laid on twice with halves of its strength.
#[test]
fn strengths_add_up() {
    let Some(gpu) = test_gpu() else { return };
    let golden = &read_goldens(GOLDENS)[0];
    let mut twice = golden.folder();
    for strength in [0.5, 0.5] {
        block_on(twice.adapt(golden.adapter_folder(), strength)).unwrap();
    }
    decoders::run(&gpu, golden, &twice).unwrap();
    let mut none = golden.folder();
    block_on(none.adapt(golden.adapter_folder(), 0.0)).unwrap();
    assert!(decoders::run(&gpu, golden, &none).is_err(), "an adapter of no strength changes nothing");
}

fn memory(name: &str, bytes: Vec<u8>) -> ModelFiles {
    ModelFiles { name: name.to_owned(), weights: vec![Rc::new(MemorySource::new(name, bytes))], side: BTreeMap::new() }
}

#[test]
fn what_is_no_adapter_of_the_model_is_refused() {
    let golden = &read_goldens(GOLDENS)[0];
    let gguf_of = |architecture: &str| {
        let writer = GgufWriter::default().string("general.architecture", architecture);
        writer.string("general.type", "adapter").string("adapter.type", "lora").float("adapter.lora.alpha", 8.0)
    };
    let gguf = || gguf_of("llama");
    let zeros = |n: u64| vec![0.0; n as usize];
    let pair = |writer: GgufWriter, of: &str, (rows, cols, rank): (u64, u64, u64)| {
        let writer = writer.f32_tensor(&format!("{of}.lora_a"), &[rank, cols], &zeros(rank * cols));
        writer.f32_tensor(&format!("{of}.lora_b"), &[rows, rank], &zeros(rows * rank))
    };
    let q = "blk.0.attn_q.weight";
    for (what, writer, fragment) in [
        ("a model", GgufWriter::default().string("general.architecture", "llama"), "adapter.type \"lora\" wanted"),
        ("another architecture", gguf_of("gemma"), "an adapter for llama wanted"),
        ("another tensor", gguf().f32_tensor("blk.0.attn_norm.weight", &[48], &zeros(48)), "part of no adapter"),
        ("half of a pair", gguf().f32_tensor(&format!("{q}.lora_a"), &[4, 48], &zeros(192)), "one is missing"),
        (
            "a layer too many",
            pair(gguf(), "blk.9.attn_q.weight", (48, 48, 4)),
            "which llama, adapter.gguf does not have",
        ),
        ("other sizes", pair(gguf(), q, (48, 52, 4)), "do not fit blk.0.attn_q.weight"),
    ] {
        let mut model = golden.gguf().unwrap();
        let error = block_on(model.adapt(memory("bad.gguf", writer.finish()), 1.0)).unwrap_err().to_string();
        assert!(error.contains(fragment), "{what}: {fragment:?} wanted, found {error}");
    }
    let mut folder = golden.folder();
    let error = block_on(folder.adapt(golden.adapter_gguf().unwrap(), 1.0)).unwrap_err().to_string();
    assert!(error.contains("on a folder"), "{error}");
    let error = block_on(folder.adapt(golden.adapter_folder(), f32::NAN)).unwrap_err().to_string();
    assert!(error.contains("strength"), "{error}");
    let mut settings = golden.adapter_folder();
    settings.side.insert(
        "adapter_config.json".to_owned(),
        Rc::new(MemorySource::new("adapter_config.json", br#"{"peft_type": "LORA", "use_dora": true}"#.to_vec())),
    );
    let error = block_on(folder.adapt(settings, 1.0)).unwrap_err().to_string();
    assert!(error.contains("DoRA"), "{error}");
    // An adapter is no model.
    for files in [golden.adapter_folder(), golden.adapter_gguf().unwrap()] {
        let checkpoint = block_on(Checkpoint::open(files)).unwrap();
        let error = trice::model::config::kind(&checkpoint).unwrap_err().to_string();
        assert!(error.contains("it is an adapter"), "{error}");
    }
    // The embedding's adapters do not run, and are not forgotten.
    let mut model = golden.gguf().unwrap();
    let rows = model.tensor("token_embd.weight").unwrap().rows();
    block_on(model.adapt(memory("embedding.gguf", pair(gguf(), "token_embd.weight", (rows, 48, 4)).finish()), 1.0))
        .unwrap();
    if let Some(gpu) = test_gpu() {
        let error = decoders::run(&gpu, golden, &model).unwrap_err();
        assert!(error.contains("token_embd.weight.lora_a"), "{error}");
    }
}
