//! What encoders do over HTTP.

use super::{assert_refused, loaded};
use crate::gpu_tasks::tiny_model;
use crate::program::has_gpu;
use serde_json::{Value, json};

#[test]
fn gpu_embeddings_and_labels() {
    let Some(server) = loaded(&[]) else { return };
    let texts = json!(["I loved it", "I hated it"]);
    let floats = server.post("/v1/embeddings", json!({"input": texts}).to_string()).json();
    let vectors: Vec<Vec<f64>> = (0..2)
        .map(|i| floats["data"][i]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect())
        .collect();
    for vector in &vectors {
        assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-4);
    }
    let encoded =
        server.post("/v1/embeddings", json!({"input": texts, "encoding_format": "base64"}).to_string()).json();
    // Four bytes per number, four characters per three bytes.
    let length = encoded["data"][1]["embedding"].as_str().unwrap().len();
    assert_eq!(length, (vectors[1].len() * 4).div_ceil(3) * 4);
    assert!(floats["usage"]["prompt_tokens"].as_u64().unwrap() > 4);
    assert_eq!(floats["model"], "builtin:embed");

    let labels = server.post("/v1/classify", json!({"input": texts, "top": 1}).to_string()).json();
    assert_eq!(labels["data"].as_array().unwrap().len(), 2);
    assert_eq!(labels["data"][0]["labels"].as_array().unwrap().len(), 1);
    let best = |i: usize| labels["data"][i]["labels"][0]["label"].as_str().unwrap().to_lowercase();
    assert_eq!((best(0), best(1)), ("positive".to_string(), "negative".to_string()));
    assert_eq!(labels["model"], "builtin:sentiment");
    let own = json!({"input": "The striker scored twice", "labels": ["football", "cooking"]});
    let own = server.post("/v1/classify", own.to_string()).json();
    assert_eq!((&own["model"], &own["data"][0]["labels"][0]["label"]), (&json!("builtin:embed"), &json!("football")));
    assert_refused("an empty text", &server.post("/v1/classify", r#"{"input":["  "]}"#), 400);
    for ids in ["[[1, 2]]", "[1, 2]"] {
        let refused = server.post("/v1/embeddings", format!(r#"{{"input":{ids}}}"#));
        assert_refused("token ids", &refused, 400);
        assert!(refused.text().contains("check_embedding_ctx_length"), "{refused:?}");
    }
}

#[test]
fn gpu_labels_are_explained() {
    let Some(server) = loaded(&[]) else { return };
    let ask = |explain: Value| json!({"input": "😀 I loved it", "explain": explain}).to_string();
    let reply = server.post("/v1/classify", ask(json!(true))).json();
    let explanation = &reply["data"][0]["explanation"];
    assert_eq!(explanation["label"], reply["data"][0]["labels"][0]["label"]);
    let words: Vec<&str> =
        explanation["words"].as_array().unwrap().iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(words, ["😀", "I", "loved", "it"]);
    // Places count characters.
    assert_eq!((&explanation["words"][2]["start"], &explanation["words"][2]["end"]), (&json!(4), &json!(9)));
    let negative = server.post("/v1/classify", ask(json!("NEGATIVE"))).json();
    assert_eq!(negative["data"][0]["explanation"]["label"], "NEGATIVE");
    assert_refused("no such label", &server.post("/v1/classify", ask(json!("MAYBE"))), 400);
    assert_refused("a number", &server.post("/v1/classify", ask(json!(1))), 400);
}

#[test]
fn gpu_entities_answers_and_hidden_words() {
    if !has_gpu() {
        return;
    }
    let folders = ["tag", "answer", "fill"].map(tiny_model);
    let [tagger, answerer, filler] = folders.each_ref().map(|folder| folder.path().to_str().unwrap());
    let Some(server) = loaded(&[tagger, answerer, filler]) else { return };
    let text = "Ada Lovelace was born in London";
    let piece = |place: &Value| {
        let end = |key: &str| place[key].as_u64().unwrap() as usize;
        text.chars().skip(end("start")).take(end("end") - end("start")).collect::<String>()
    };

    let tagged = server
        .post("/v1/tag", json!({"model": tagger, "input": [text, text], "aggregation": "none"}).to_string())
        .json();
    assert_eq!(tagged["data"][1]["index"], 1, "{tagged}");
    let entities = tagged["data"][0]["entities"].as_array().unwrap();
    assert!(!entities.is_empty() && entities.iter().all(|entity| !piece(entity).is_empty()), "{tagged}");
    assert_eq!(&tagged["data"][0]["entities"], &tagged["data"][1]["entities"]);
    let wrong = json!({"model": tagger, "input": text, "aggregation": "most"});
    assert_refused("aggregation", &server.post("/v1/tag", wrong.to_string()), 400);

    let asked = json!({"model": answerer, "question": "Where?", "context": text, "top": 3});
    let answered = server.post("/v1/answer", asked.to_string()).json();
    let answers = answered["answers"].as_array().unwrap();
    assert!(!answers.is_empty() && answers.len() <= 3, "{answered}");
    answers.iter().for_each(|answer| assert_eq!(answer["answer"].as_str().unwrap(), piece(answer), "{answered}"));
    assert_refused("no question", &server.post("/v1/answer", json!({"context": text}).to_string()), 400);

    let hidden = json!({"model": filler, "input": "Ada was [MASK] in London", "top": 2});
    let filled = server.post("/v1/fill", hidden.to_string()).json();
    let masks = filled["data"][0]["masks"].as_array().unwrap();
    assert_eq!((masks.len(), masks[0].as_array().unwrap().len()), (1, 2), "{filled}");
    // Who names no model means the one that has the head.
    for (path, body, model) in [
        ("/v1/tag", json!({"input": text}), tagger),
        ("/v1/answer", json!({"question": "Where?", "context": text}), answerer),
        ("/v1/fill", json!({"input": "Ada was [MASK]"}), filler),
        ("/v1/embeddings", json!({"input": text}), tagger),
    ] {
        let reply = server.post(path, body.to_string()).json();
        assert!(model.ends_with(reply["model"].as_str().unwrap()), "{path}: {reply}");
    }
    let nothing = json!({"model": filler, "input": text});
    assert_refused("nothing hidden", &server.post("/v1/fill", nothing.to_string()), 400);
    assert_refused("no such head", &server.post("/v1/fill", json!({"model": tagger, "input": text}).to_string()), 400);
}

#[test]
fn gpu_documents_are_ranked() {
    let Some(server) = loaded(&[]) else { return };
    let documents = ["I hated every minute", "I loved every minute", "it rains"];
    let asked = json!({"query": "I loved it", "documents": documents, "top_n": 2, "return_documents": true});
    let ranked = server.post("/v1/rerank", asked.to_string()).json();
    let results = ranked["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{ranked}");
    assert_eq!((&results[0]["index"], &results[0]["document"]["text"]), (&json!(1), &json!(documents[1])), "{ranked}");
    let score = |i: usize| results[i]["relevance_score"].as_f64().unwrap();
    assert!(score(0) >= score(1) && ranked["usage"]["total_tokens"].as_u64().unwrap() > 10, "{ranked}");
    for (name, body) in [
        ("no query", json!({"documents": ["a"]})),
        ("no documents", json!({"query": "a"})),
        ("an empty document", json!({"query": "a", "documents": [" "]})),
        ("top_n of 0", json!({"query": "a", "documents": ["a"], "top_n": 0})),
    ] {
        assert_refused(name, &server.post("/v1/rerank", body.to_string()), 400);
    }
    assert_refused("long", &server.post("/v1/classify", r#"{"input":"a","long":"fold"}"#), 400);
}
