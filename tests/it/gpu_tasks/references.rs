//! `reference.json` beside MiniLM's fine-tuned models: labels, and spans of all aggregations.

use crate::common::gpu::{block_on, open_folder, test_gpu};
use crate::common::shared;
use serde_json::Value;
use trice::session::LoadOptions;
use trice::tasks::{Aggregation, ClassifyOptions, TagOptions, TextEncoder, Unit};

/// The model and what its reference says of each text; none without them or a GPU.
fn open(name: &str) -> Option<(TextEncoder, Vec<Value>)> {
    let folder = shared(&format!("models/{name}"))?;
    let gpu = test_gpu()?;
    let reference: Value = serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let checkpoint = open_folder(&format!("models/{name}"));
    let encoder = block_on(TextEncoder::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap();
    Some((encoder, reference["texts"].as_array().unwrap().clone()))
}

fn near(found: f32, wanted: &Value, what: &str) {
    assert!((f64::from(found) - wanted.as_f64().unwrap()).abs() <= 1e-4, "{what}: {found}, {wanted} was wanted");
}

#[test]
fn minilm_sst2_classifies_as_its_reference_says() {
    let Some((mut encoder, references)) = open("minilm-sst2") else { return };
    for reference in references {
        let text = reference["text"].as_str().unwrap();
        let found = block_on(encoder.classify(&[text], &ClassifyOptions::default())).unwrap().swap_remove(0);
        let wanted = reference["pipeline_top_k_none"].as_array().unwrap();
        assert_eq!(found.labels.len(), wanted.len());
        for (found, wanted) in found.labels.iter().zip(wanted) {
            assert_eq!(found.label, wanted["label"].as_str().unwrap(), "{text}");
            near(found.score, &wanted["score"], text);
        }
    }
}

#[test]
fn minilm_wnut17_tags_as_its_reference_says() {
    let Some((mut encoder, references)) = open("minilm-wnut17") else { return };
    for reference in references {
        let text = reference["text"].as_str().unwrap();
        for (name, wanted) in reference["entities"].as_object().unwrap() {
            let aggregation = Aggregation::from_name(name).unwrap();
            let options = TagOptions { aggregation, ..TagOptions::default() };
            let found = block_on(encoder.tag(&[text], &options)).unwrap().swap_remove(0);
            let found = serde_json::to_value(&found.entities).unwrap();
            let (found, wanted) = (found.as_array().unwrap(), wanted.as_array().unwrap());
            assert_eq!(found.len(), wanted.len(), "{name}: {text}: {found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                for (key, wanted) in wanted.as_object().unwrap().iter().filter(|(key, _)| *key != "score") {
                    assert_eq!(&found[key], wanted, "{key}, {name}: {text}");
                }
                near(found["score"].as_f64().unwrap() as f32, &wanted["score"], text);
            }
        }
    }
}

/// Emoji and accents before an entity: JavaScript counts other units than Python.
#[test]
fn places_hold_for_any_unicode_in_both_units() {
    let Some((mut encoder, _)) = open("minilm-wnut17") else { return };
    let text = "😀 Café 中文 e\u{301} 👩‍🚀: I love Redondo Beach in California 😀";
    for unit in [Unit::Characters, Unit::Utf16] {
        let options = TagOptions { unit, ..TagOptions::default() };
        let found = block_on(encoder.tag(&[text], &options)).unwrap().swap_remove(0);
        let piece = |start: usize, end: usize| match unit {
            Unit::Characters => text.chars().skip(start).take(end - start).collect::<String>(),
            Unit::Utf16 => String::from_utf16(&text.encode_utf16().collect::<Vec<_>>()[start..end]).unwrap(),
        };
        let pieces: Vec<String> = found.entities.iter().map(|entity| piece(entity.start, entity.end)).collect();
        assert!(pieces.contains(&"Redondo Beach".to_owned()), "{unit:?}: {pieces:?}");
        assert!(pieces.contains(&"California".to_owned()), "{unit:?}: {pieces:?}");
    }
}
