//! Choices by likelihood: ranked as torch's log-likelihood ranks them (tests/golden/choices.py), and labels by a decoder.

use crate::common::gpu::{block_on, open_bytes, test_gpu};
use crate::common::hashed::{Golden, ids, read_goldens};
use serde_json::{Map, Value, json};
use trice::Error;
use trice::session::{KvType, LoadOptions, Session};
use trice::tasks::ClassifyOptions;
use trice::tasks::choices::{Choice, LikelihoodClassifier, Normalization, rank_continuations};

const GOLDENS: &str = include_str!("../golden/choices.json");
const MODELS: &str = include_str!("../golden/decoders.json");

/// How far a sum of a few logarithms may be from torch's.
const LIMIT: f64 = 1e-3;

/// A tokenizer for which the text of token 7 is `t7`.
fn tokenizer(vocab_size: u64) -> String {
    let vocab: Map<String, Value> = (0..vocab_size).map(|id| (format!("t{id}"), json!(id))).collect();
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "t0"});
    json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": model})
        .to_string()
}

fn text(ids: &[u32]) -> String {
    ids.iter().map(|id| format!(" t{id}")).collect()
}

fn load(golden: &Golden) -> Option<Session> {
    let tokenizer = tokenizer(golden.0["config"]["vocab_size"].as_u64().unwrap());
    let checkpoint = golden.folder_beside(&[("tokenizer.json", tokenizer)]);
    let options = LoadOptions { kv_type: KvType::F32, ..LoadOptions::default() };
    Some(block_on(Session::load(&test_gpu()?, &checkpoint, &options, &mut |_| {})).unwrap())
}

#[test]
fn choices_are_ranked_as_by_torch() {
    let (models, mut n_cases) = (read_goldens(MODELS), 0);
    for golden in read_goldens(GOLDENS) {
        let model = models.iter().find(|model| model.name() == golden.name()).unwrap();
        let Some(mut session) = load(model) else { return };
        let wanted: Vec<f64> = serde_json::from_value(golden.0["log_likelihoods"].clone()).unwrap();
        let ids_of = |choice: &Value| ids(choice);
        let choices: Vec<Vec<u32>> = golden.0["choices"].as_array().unwrap().iter().map(ids_of).collect();
        let prompt = text(&ids(&golden.0["prompt"]));
        let texts: Vec<String> = choices.iter().map(|choice| text(choice)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut worst = 0f64;
        for normalization in [Normalization::Whole, Normalization::PerToken] {
            let found = block_on(rank_continuations(&mut session, &prompt, &texts, normalization)).unwrap();
            for Choice { index, log_likelihood, n_tokens, .. } in &found {
                assert_eq!(*n_tokens, choices[*index].len());
                worst = worst.max((f64::from(*log_likelihood) - wanted[*index]).abs());
            }
            let compared = |index: usize| match normalization {
                Normalization::Whole => wanted[index],
                Normalization::PerToken => wanted[index] / choices[index].len() as f64,
            };
            let mut order: Vec<usize> = (0..choices.len()).collect();
            order.sort_by(|a, b| compared(*b).total_cmp(&compared(*a)));
            let found: Vec<usize> = found.iter().map(|choice| choice.index).collect();
            assert_eq!(found, order, "{}, {normalization:?}", golden.name());
        }
        println!("{}: log-likelihoods within {worst:.1e} of torch's, the same order", golden.name());
        assert!(worst < LIMIT, "{}: {worst} from torch's", golden.name());
        n_cases += 1;
    }
    assert_eq!(n_cases, 7);
}

fn stories() -> Option<Session> {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let checkpoint = open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap());
    Some(block_on(Session::load(&test_gpu()?, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap())
}

/// A continuation scored with the prompt in the cache is scored as by itself.
#[test]
fn a_known_prompt_changes_no_likelihood() {
    let Some(mut session) = stories() else { return };
    let prompt = session.raw_prompt(&"Once upon a time there was a little dog. ".repeat(20)).unwrap();
    let [one, two] = ["He ran", "She was very happy"].map(|text| session.tokenizer().encode_text(text).unwrap());
    let fresh = |session: &mut Session, ids: &[u32]| {
        session.forget();
        block_on(session.log_likelihood(&prompt, ids)).unwrap()
    };
    let wanted = [fresh(&mut session, &one), fresh(&mut session, &two)];
    session.forget();
    let found = [&one, &two, &one].map(|ids| block_on(session.log_likelihood(&prompt, ids)).unwrap());
    for (found, wanted) in found.iter().zip([&wanted[0], &wanted[1], &wanted[0]]) {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?}, {wanted:?} was wanted");
    }
    let whole = [&prompt[..], &two].concat();
    let before = block_on(session.nll(&prompt)).unwrap();
    let sum: f32 = wanted[1].iter().sum();
    let nll = block_on(session.nll(&whole)).unwrap();
    assert!((nll - before + f64::from(sum)).abs() < 1e-2, "{nll} − {before} is {sum} with another sign");
}

/// The model knows how stories go.
#[test]
fn the_likely_end_of_a_story_comes_first() {
    let Some(mut session) = stories() else { return };
    let ends = [" time", " refrigerator", " zebra"];
    let found = block_on(rank_continuations(&mut session, "Once upon a", &ends, Normalization::PerToken)).unwrap();
    assert_eq!((found[0].index, found.len()), (0, 3));
    assert!(found[0].score > 0.9, "{found:?}");
}

#[test]
fn labels_of_a_decoder_are_calibrated_and_in_order() {
    let Some(mut session) = stories() else { return };
    let options = ClassifyOptions { labels: vec!["dog".into(), "sun".into()], ..ClassifyOptions::default() };
    let long = "The dog barked. The big dog ran to the dog house. ".repeat(100);
    let texts = ["The dog barked. The big dog ran to the dog house.", "N/A", &long];
    let mut classifier = block_on(LikelihoodClassifier::new(&mut session, &options)).unwrap();
    let found = texts.map(|text| block_on(classifier.classify(text)).unwrap().labels);
    for labels in &found {
        assert!((labels.iter().map(|label| label.score).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(labels[0].score >= labels[1].score);
    }
    assert!(
        found[1].iter().all(|label| (label.score - 0.5).abs() < 1e-4),
        "what says nothing prefers nothing: {found:?}"
    );
    assert!((found[0][0].score - 0.5).abs() > 0.01, "what says something prefers something: {found:?}");
    let refusals =
        [(ClassifyOptions::default(), "labels"), (ClassifyOptions { multi_label: true, ..options }, "alone")];
    for (options, word) in refusals {
        let error = block_on(LikelihoodClassifier::new(&mut session, &options)).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
    let empty = block_on(rank_continuations(&mut session, "Once", &["a", ""], Normalization::Whole));
    assert!(matches!(empty, Err(Error::Invalid { what }) if what.contains("empty")));
}
