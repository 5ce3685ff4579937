//! Folders written as GGUF files compute what torch does, and hold what llama.cpp's converter writes; those that no file says are
//! refused by the name of what it cannot say.

use super::{Outcome, decoders, encoders};
use crate::common::gpu::{block_on, open_bytes, test_gpu};
use crate::common::hashed::Golden;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use trice::export::Export;
use trice::format::mix::Mix;
use trice::format::{Checkpoint, Config, Metadata, Value};
use trice::{Error, Result};

/// Goldens that no file says, and what it is of each.
const REFUSED: &[(&str, &str)] = &[
    ("llama, dynamic scaling", "rope scaling"),
    ("smollm3, chosen layers", "choice of layers that rotate"),
    ("bert, token", "head of tokens"),
    ("bert, answer", "head of answers"),
    ("bert, mask", "head of hidden tokens"),
    // Behind a ReLU.
    ("distilbert, sequence", "head"),
    ("roberta, token", "head of tokens"),
    ("roberta, mask", "head of hidden tokens"),
    ("mpnet", "relative positions"),
    ("mpnet, sequence", "relative positions"),
    ("modernbert, mask", "head of hidden tokens"),
];

fn refusal(golden: &Golden) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == golden.name()).map(|(_, what)| *what)
}

/// `golden`'s folder through a file of 32-bit floats; it has no tokenizer.
fn exported(golden: &Golden) -> Result<Checkpoint> {
    let mut file = Vec::new();
    let export = block_on(Export::new(golden.folder()))?;
    block_on(export.write(&Mix::from_name("F32")?, &mut file, "out.gguf", &mut |_, _| Ok(())))?;
    Ok(open_bytes("out.gguf", file))
}

/// Runs `run` on what `goldens` are written to, and fails with all that is wrong.
fn check_all(goldens: &[Golden], run: &dyn Fn(&Golden, &Checkpoint) -> Outcome) {
    let mut wrong = Vec::new();
    for golden in goldens.iter().filter(|golden| refusal(golden).is_none()) {
        match exported(golden).map_err(|error| error.to_string()).and_then(|checkpoint| run(golden, &checkpoint)) {
            Ok(worst) => println!("{} | exported | NMSE {worst:.1e} at worst", golden.name()),
            Err(what) => wrong.push(format!("{}: {what}", golden.name())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_of_decoders_compute_what_torch_does() {
    let Some(gpu) = test_gpu() else { return };
    check_all(&decoders::goldens(), &|golden, checkpoint| decoders::run(&gpu, golden, checkpoint));
}

#[test]
fn files_of_encoders_compute_what_torch_does() {
    let Some(gpu) = test_gpu() else { return };
    check_all(&encoders::goldens(), &|golden, checkpoint| encoders::run(&gpu, golden, checkpoint));
}

fn all_goldens() -> Vec<Golden> {
    decoders::goldens().into_iter().chain(encoders::goldens()).collect()
}

#[test]
fn what_no_file_says_is_refused_by_name() {
    let goldens = all_goldens();
    for (name, what) in REFUSED {
        let golden = goldens.iter().find(|golden| golden.name() == *name).unwrap();
        match exported(golden) {
            Err(Error::Unsupported { what: said }) => {
                assert_eq!(said, format!("writing {name} as GGUF: no key says its {what}"));
            }
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => panic!("{name} was written"),
        }
    }
}

/// What the goldens happen not to have: it must be refused as well, not written as something else.
#[test]
fn unusual_facts_are_refused_by_name() {
    let unusual = [
        ("bert, mean pooling", "hidden_act", json!("gelu_new"), "no key says its activation"),
        ("llama", "hidden_act", json!("gelu"), "no key says its activation"),
        ("gemma2", "final_logit_softcapping", Json::Null, "no key says its bound of the logits"),
        ("phi", "layer_types", json!(["full_attention", "linear_attention"]), "layers of type linear_attention"),
        ("mistral", "partial_rotary_factor", json!(0.8), "rotating 16 of 20 values"),
        ("llama, yarn", "rope_scaling", json!({"type": "yarn", "factor": 4.0, "truncate": false}), "its rope scaling"),
        ("roberta", "pad_token_id", json!(60), "more than 61 were wanted"),
    ];
    for (name, key, fact, wanted) in unusual {
        let mut golden = all_goldens().into_iter().find(|golden| golden.name() == name).unwrap();
        exported(&golden).unwrap();
        golden.0["config"][key] = fact;
        match exported(&golden) {
            Err(error) => assert!(error.to_string().contains(wanted), "{name}: {error}"),
            Ok(_) => panic!("{name} with its own {key} was written"),
        }
    }
}

/// A layer's tensor without a name in GGUF is refused, one outside the layers left out.
#[test]
fn unknown_tensors_of_layers_are_refused() {
    let mut golden = all_goldens().into_iter().find(|golden| golden.name() == "llama").unwrap();
    golden.0["tensors"]["score.weight"] = json!([2, 60]);
    exported(&golden).unwrap();
    golden.0["tensors"]["model.layers.0.self_attn.sinks"] = json!([5]);
    let error = exported(&golden).err().unwrap().to_string();
    assert!(error.contains("no name for its tensor model.layers.0.self_attn.sinks"), "{error}");
}

/// Whether a key says what is so without it.
fn says_nothing(key: &str, value: &Json, all: &Json) -> bool {
    let has_scaling = all.as_object().unwrap().keys().any(|key| key.ends_with("rope.scaling.type"));
    // Written for every StableLM and read for none: its norms say it.
    let is_ignored = key == "stablelm.use_parallel_residual";
    is_ignored || value == "none" || value == 0 || key.ends_with("rope.scaling.original_context_length") && !has_scaling
}

fn is_same(wanted: &Json, found: Option<&Value>) -> bool {
    let near = |wanted: &Json, found: f64| wanted.as_f64().is_some_and(|wanted| (wanted - found).abs() <= 1e-6 * found);
    match (wanted, found) {
        // One number for each layer, all the same.
        (Json::Array(all), Some(found @ Value::U64(_))) => all.iter().all(|one| is_same(one, Some(found))),
        (Json::Array(all), Some(Value::Bools(found))) => {
            all.iter().map(Json::as_bool).eq(found.iter().map(|b| Some(*b)))
        }
        (Json::Array(all), Some(Value::Strings(found))) => {
            all.iter().map(Json::as_str).eq(found.iter().map(|text| Some(text.as_str())))
        }
        (Json::Number(wanted), Some(Value::U64(found))) => wanted.as_u64() == Some(*found),
        (wanted, Some(Value::F64(found))) => near(wanted, *found),
        (wanted, Some(Value::Bool(found))) => wanted == found,
        (wanted, Some(Value::String(found))) => wanted == found,
        _ => false,
    }
}

#[test]
fn files_hold_what_the_converter_writes() {
    let mut wrong = Vec::new();
    for golden in all_goldens() {
        let Some(described) = golden.0.get("gguf").filter(|_| refusal(&golden).is_none()) else { continue };
        let checkpoint = exported(&golden).unwrap();
        let Config::Gguf(Metadata(found)) = checkpoint.config() else { panic!("GGUF wanted") };
        let all = &described["metadata"];
        for (key, wanted) in all.as_object().unwrap() {
            if !is_same(wanted, found.get(key)) && !says_nothing(key, wanted, all) {
                wrong.push(format!("{}: {key} is {:?}, {wanted} was wanted", golden.name(), found.get(key)));
            }
        }
        let described = described["tensors"].as_array().unwrap();
        let wanted: BTreeSet<&str> = described.iter().map(|entry| entry[0].as_str().unwrap()).collect();
        let found: BTreeSet<&str> = checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect();
        if wanted != found {
            let odd: Vec<_> = wanted.symmetric_difference(&found).collect();
            wrong.push(format!("{}: tensors {odd:?} in one of both", golden.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
