//! Tasks against transformers' pipelines (tests/golden/tasks.py): tiny random models of every kind of head and tokenizer, and MiniLM's,
//! on 200 real texts each: the same labels, spans and order, scores within 1e-4.

/// A test per task, so that each is seen to fail by itself, and one that no task is left out.
macro_rules! test_tasks {
    ($($task:ident),* $(,)?) => {
        $(
            #[test]
            fn $task() {
                check_task(stringify!($task));
            }
        )*

        #[test]
        fn no_task_is_left_out() {
            let there: std::collections::BTreeSet<String> = goldens().iter().map(|golden| task(golden).to_owned()).collect();
            assert_eq!(there, [$(stringify!($task).to_owned()),*].into());
        }
    };
}

mod long;
mod quality;
mod references;
mod table;
mod texts;

use crate::common::gpu::{block_on, open_folder, test_gpu};
use crate::common::hashed::{Golden, read_goldens, unpack};
use crate::common::shared;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;
use trice::gpu::Gpu;
use trice::session::LoadOptions;
use trice::tasks::{
    Aggregation, AnswerOptions, ClassifyOptions, Entity, FillOptions, LabelScore, Long, Scaling, TagOptions,
    TextEncoder,
};

const GOLDENS: &str = include_str!("../golden/tasks.json");
const TOKENIZERS: &str = include_str!("../golden/tokenizers.json");

/// How far a score may be from transformers'.
const TOLERANCE: f64 = 1e-4;

/// As a share of the score, and beyond that: tiny models' answers have probabilities that `TOLERANCE` would not tell apart.
const SHARE: f64 = 1e-3;
const ROUNDING: f64 = 3e-6;

test_tasks!(answer, classify, embed, fill, rank, tag, zero_shot);

fn goldens() -> Vec<Golden> {
    read_goldens(GOLDENS)
}

fn task(golden: &Golden) -> &str {
    golden.0["task"].as_str().unwrap()
}

/// What was compared, and the largest difference of a score.
struct Compared {
    n_texts: usize,
    n_scores: usize,
    worst: f64,
}

impl Compared {
    fn new(n_texts: usize) -> Self {
        Self { n_texts, n_scores: 0, worst: 0.0 }
    }

    fn score(&mut self, what: &str, found: f32, wanted: f64) {
        let difference = (f64::from(found) - wanted).abs();
        let allowed = TOLERANCE.min(SHARE * wanted.abs() + ROUNDING);
        assert!(difference <= allowed, "{what}: {found}, {wanted} was wanted");
        self.n_scores += 1;
        self.worst = self.worst.max(difference);
    }
}

fn load(gpu: &Rc<Gpu>, golden: &Golden) -> TextEncoder {
    let checkpoint = match golden.0.get("model") {
        Some(path) => open_folder(path.as_str().unwrap()),
        None => golden.folder_beside(&tokenizer_files(golden)),
    };
    let context_len = golden.0["said"]["context"].as_u64().map(|n| n as usize);
    let options = LoadOptions { context_len, ..LoadOptions::default() };
    block_on(TextEncoder::load(gpu, &checkpoint, &options, &mut |_| {})).unwrap()
}

/// The files of a tiny model's tokenizer.
fn tokenizer_files(golden: &Golden) -> [(&'static str, String); 2] {
    let kinds: BTreeMap<String, Value> = serde_json::from_str(TOKENIZERS).unwrap();
    let tokenizer = kinds[golden.0["tokenizer"].as_str().unwrap()].to_string();
    [("tokenizer.json", tokenizer), ("special_tokens_map.json", golden.0["marks"].to_string())]
}

/// A tiny model with a head for `task`, as a folder on disk.
pub(crate) fn tiny_model(task: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let is_tiny = |golden: &&Golden| golden.0["task"] == task && golden.0.get("model").is_none();
    let golden = goldens();
    let golden = golden.iter().find(is_tiny).unwrap();
    golden.write_beside(&tokenizer_files(golden), folder.path());
    folder
}

/// Runs every golden of a task.
fn check_task(name: &str) {
    let (Some(_), Some(gpu)) = (shared("data"), test_gpu()) else { return };
    for golden in goldens().iter().filter(|golden| task(golden) == name) {
        let Compared { n_texts, n_scores, worst } = compare(&gpu, golden);
        println!("{}: {n_texts} texts, {n_scores} scores, {worst:.1e} apart at most", golden.name());
    }
}

fn compare(gpu: &Rc<Gpu>, golden: &Golden) -> Compared {
    let (mut encoder, said) = (load(gpu, golden), &golden.0["said"]);
    match task(golden) {
        "classify" => classify_as(&mut encoder, said, &ClassifyOptions::default()),
        "zero_shot" => {
            let labels = strings(&said["labels"]);
            let multi_label = said["multi_label"].as_bool().unwrap();
            classify_as(&mut encoder, said, &ClassifyOptions { labels, multi_label, ..ClassifyOptions::default() })
        }
        "tag" => tag_as(&mut encoder, said),
        "answer" => answer_as(&mut encoder, said),
        "rank" => rank_as(&mut encoder, said),
        "fill" => fill_as(&mut encoder, said),
        "embed" => embed_as(&mut encoder, said),
        other => panic!("no task {other}"),
    }
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Packed scores in one row.
fn scores(said: &Value) -> std::vec::IntoIter<f64> {
    unpack(&said["scores"], 1).swap_remove(0).into_iter()
}

fn classify_as(encoder: &mut TextEncoder, said: &Value, options: &ClassifyOptions) -> Compared {
    let texts = texts::sst2();
    let names = strings(&said["labels"]);
    let wanted = unpack(&said["scores"], texts.len());
    let found = block_on(encoder.classify(&borrowed(&texts), options)).unwrap();
    let mut compared = Compared::new(texts.len());
    for ((text, found), wanted) in texts.iter().zip(found).zip(wanted) {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|a, b| wanted[*b].total_cmp(&wanted[*a]));
        assert_eq!(found.labels.len(), names.len());
        for (LabelScore { label, score }, i) in found.labels.iter().zip(order) {
            assert_eq!(*label, names[i], "{text}");
            compared.score(text, *score, wanted[i]);
        }
    }
    compared
}

fn tag_as(encoder: &mut TextEncoder, said: &Value) -> Compared {
    let stride = said["stride"].as_u64();
    let mut compared = None;
    for (name, said) in said["aggregations"].as_object().unwrap() {
        let wanted: Vec<Vec<(String, usize, usize, String)>> =
            serde_json::from_value(said["entities"].clone()).unwrap();
        let texts = match stride {
            None => texts::wnut17(wanted.len()),
            Some(_) => texts::xquad("en", wanted.len()).into_iter().map(|(_, context)| context).collect(),
        };
        let options = TagOptions {
            aggregation: Aggregation::from_name(name).unwrap(),
            long: if stride.is_some() { Long::Windows } else { Long::Truncate },
            stride: stride.map_or(0, |n| n as usize),
            ..TagOptions::default()
        };
        let found = block_on(encoder.tag(&borrowed(&texts), &options)).unwrap();
        let compared = compared.get_or_insert_with(|| Compared::new(texts.len()));
        let mut scores = scores(said);
        for ((text, found), wanted) in texts.iter().zip(found).zip(wanted) {
            let spans: Vec<_> = found.entities.iter().map(span).collect();
            assert_eq!(spans, wanted, "{name}: {text}");
            for entity in &found.entities {
                compared.score(text, entity.score, scores.next().unwrap());
            }
        }
        assert_eq!(scores.next(), None);
    }
    compared.unwrap()
}

fn span(entity: &Entity) -> (String, usize, usize, String) {
    let name = entity.entity_group.as_ref().or(entity.entity.as_ref()).unwrap();
    (name.clone(), entity.start, entity.end, entity.word.clone())
}

fn answer_as(encoder: &mut TextEncoder, said: &Value) -> Compared {
    let option = |name: &str| said["options"][name].as_u64().map(|n| n as usize);
    let default = AnswerOptions::default();
    let options = AnswerOptions {
        top: said["top"].as_u64().unwrap() as usize,
        max_answer_len: option("max_answer_len").unwrap_or(default.max_answer_len),
        max_len: option("max_seq_len").unwrap_or(default.max_len),
        stride: option("doc_stride"),
        no_answer: said["options"]["handle_impossible_answer"] == true,
        ..default
    };
    let wanted: Vec<Vec<(usize, usize)>> = serde_json::from_value(said["answers"].clone()).unwrap();
    let pairs = texts::xquad(said["language"].as_str().unwrap(), wanted.len());
    let mut compared = Compared::new(pairs.len());
    let mut scores = scores(said);
    for ((question, context), wanted) in pairs.iter().zip(wanted) {
        let found = block_on(encoder.answer(question, context, &options)).unwrap();
        let spans: Vec<_> = found.answers.iter().map(|answer| (answer.start, answer.end)).collect();
        assert_eq!(spans, wanted, "{question}");
        for answer in found.answers {
            let piece: String = context.chars().skip(answer.start).take(answer.end - answer.start).collect();
            assert_eq!(answer.answer, piece, "{question}");
            compared.score(question, answer.score, scores.next().unwrap());
        }
    }
    compared
}

fn rank_as(encoder: &mut TextEncoder, said: &Value) -> Compared {
    let queries = texts::queries();
    let mut compared = Compared::new(queries.len());
    for ((query, documents), wanted) in queries.iter().zip(unpack(&said["scores"], queries.len())) {
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by(|a, b| wanted[*b].total_cmp(&wanted[*a]));
        let found = block_on(encoder.rank(query, &borrowed(documents))).unwrap();
        assert_eq!(found.iter().map(|ranked| ranked.index).collect::<Vec<_>>(), order, "{query}");
        found.iter().for_each(|ranked| compared.score(query, ranked.score, wanted[ranked.index]));
    }
    compared
}

fn fill_as(encoder: &mut TextEncoder, said: &Value) -> Compared {
    let mask = encoder.tokenizer().token(encoder.tokenizer().mask().unwrap()).unwrap();
    let texts = texts::hidden(&mask);
    let found = block_on(encoder.fill(&borrowed(&texts), &FillOptions { top: 3 })).unwrap();
    let mut compared = Compared::new(texts.len());
    let mut scores = scores(said);
    for ((text, found), wanted) in texts.iter().zip(found).zip(said["tokens"].as_array().unwrap()) {
        assert_eq!(found.masks.len(), wanted.as_array().unwrap().len(), "{text}");
        for (place, wanted) in found.masks.iter().zip(wanted.as_array().unwrap()) {
            assert_eq!(place.len(), 3);
            for (filling, wanted) in place.iter().zip(wanted.as_array().unwrap()) {
                assert_eq!(filling.token, wanted[0].as_u64().unwrap() as u32, "{text}");
                assert_eq!(filling.token_str, wanted[1].as_str().unwrap(), "{text}");
                if let Some(sequence) = wanted.get(2) {
                    assert_eq!(filling.sequence, sequence.as_str().unwrap(), "{text}");
                }
                compared.score(text, filling.score, scores.next().unwrap());
            }
        }
    }
    compared
}

/// The mean of all tokens, the special ones included.
fn embed_as(encoder: &mut TextEncoder, said: &Value) -> Compared {
    let texts = texts::sst2();
    let found = block_on(encoder.embed(&borrowed(&texts), None, Scaling::Raw)).unwrap();
    let mut compared = Compared::new(texts.len());
    for ((text, found), wanted) in texts.iter().zip(found).zip(unpack(&said["vectors"], texts.len())) {
        assert_eq!(found.len(), wanted.len());
        found.iter().zip(wanted).for_each(|(found, wanted)| compared.score(text, *found, wanted));
    }
    compared
}
