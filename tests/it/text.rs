//! Tokenizers: ids against the reference ids of real vocabularies, decoding, chat templates, and a refusal for every
//! malformed `tokenizer.json`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use trice::format::gguf;
use trice::source::FileSource;
use trice::text::{SideFiles, TextStream, Tokenizer};

/// The folder of models and tokenizers that is shared between checkouts, where there is one.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TRICE_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The tokenizer of a Hugging Face folder.
fn folder(path: &Path) -> Tokenizer {
    let file = |name: &str| path.join(name).exists().then(|| json(&path.join(name)));
    let (tokenizer_config, special_tokens_map) = (file("tokenizer_config.json"), file("special_tokens_map.json"));
    let (generation_config, config) = (file("generation_config.json"), file("config.json"));
    let side = SideFiles {
        tokenizer_config: tokenizer_config.as_ref(),
        special_tokens_map: special_tokens_map.as_ref(),
        generation_config: generation_config.as_ref(),
        config: config.as_ref(),
    };
    let bytes = std::fs::read(path.join("tokenizer.json")).unwrap();
    Tokenizer::from_json("tokenizer.json", &bytes, &side).unwrap()
}

/// The tokenizer in a GGUF file.
fn gguf_file(path: &Path) -> Tokenizer {
    let source = FileSource::open(path).unwrap();
    let header = pollster::block_on(gguf::read_header(&source, 0)).unwrap();
    Tokenizer::from_gguf("vocab", &header.metadata).unwrap()
}

/// Encodes every case of an `.inp` file and compares with the `.out` file; prints `vocab NAME n/n`.
fn conform(name: &str, cases: &str, tokenizer: &Tokenizer) {
    let Some(inputs) = shared(&format!("tokenizers/llamacpp-vocabs/ggml-vocab-{cases}.gguf.inp")) else { return };
    let texts = std::fs::read_to_string(&inputs).unwrap();
    let wanted = std::fs::read_to_string(inputs.with_extension("out")).unwrap();
    let (mut right, mut n) = (0, 0);
    for (text, line) in texts.split("\n__ggml_vocab_test__\n").zip(wanted.split('\n')) {
        let ids: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        let found = tokenizer.encode_text(text).unwrap();
        n += 1;
        if found == ids {
            right += 1;
        } else {
            println!("{name}, case {n}, {text:?}: wanted {ids:?}, found {found:?}");
        }
    }
    println!("vocab {name} {right}/{n}");
    assert!(n >= 46, "only {n} cases were read");
    assert_eq!(right, n, "{name}");
}

#[test]
fn gguf_vocabularies_encode_as_their_models_do() {
    let names = [
        "gpt-2",
        "llama-spm",
        "phi-3",
        "bert-bge",
        "starcoder",
        "refact",
        "falcon",
        "mpt",
        "deepseek-coder",
        "deepseek-llm",
    ];
    for name in names {
        let Some(path) = shared(&format!("tokenizers/llamacpp-vocabs/ggml-vocab-{name}.gguf")) else { return };
        conform(name, name, &gguf_file(&path));
    }
}

#[test]
fn tokenizer_files_encode_as_their_models_do() {
    let files = [("tokenizers/qwen2", "qwen2"), ("tokenizers/gpt2", "gpt-2"), ("models/all-MiniLM-L6-v2", "bert-bge")];
    for (path, cases) in files {
        let Some(path) = shared(path) else { return };
        conform(&path.display().to_string(), cases, &folder(&path));
    }
}

#[test]
fn the_story_model_reads_and_writes_as_its_reference() {
    let Some(path) = shared("models/TinyStories-656K") else { return };
    let tokenizer = folder(&path);
    assert_eq!((tokenizer.bos(), tokenizer.added_bos(), tokenizer.end_tokens()), (Some(1), Some(1), &[2][..]));
    assert_eq!(tokenizer.vocab_size(), 2048);
    let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let reference = json(&path.join("reference.json"));
    for case in reference["cases"].as_array().unwrap() {
        let (prompt, generated) = (ids(&case["prompt_ids"]), ids(&case["generated_ids"]));
        let text = case["prompt"].as_str().unwrap();
        assert_eq!(tokenizer.encode_document(text).unwrap(), prompt);
        assert_eq!(tokenizer.encode_prompt(text).unwrap(), prompt);
        let all = [prompt, generated].concat();
        // The reference was decoded with the begin token's text left in; ours never shows special tokens.
        let wanted = case["text"].as_str().unwrap().strip_prefix("<|start_story|> ").unwrap();
        assert_eq!(tokenizer.decode(&all), wanted);
    }
}

#[test]
fn a_document_for_bert_is_marked() {
    let Some(path) = shared("models/all-MiniLM-L6-v2") else { return };
    let tokenizer = folder(&path);
    let reference = json(&path.join("reference.json"));
    for sentence in reference["sentences"].as_array().unwrap() {
        let wanted: Vec<u32> = serde_json::from_value(sentence["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode_document(sentence["text"].as_str().unwrap()).unwrap(), wanted);
    }
    let spans = tokenizer.encode_spans("Über embeddings").unwrap();
    let text = "Über embeddings";
    let places: Vec<&str> = spans.iter().map(|span| &text[span.bytes.clone()]).collect();
    assert_eq!(places.first(), Some(&"Über"));
    assert_eq!(places[1..].concat(), "embeddings");
    assert_eq!(tokenizer.decode(&tokenizer.encode_document("hello embeddings").unwrap()), "hello embeddings");

    let vocab = std::fs::read_to_string(path.join("vocab.txt")).unwrap();
    let from_vocab = Tokenizer::from_vocab_txt("vocab.txt", &vocab, &SideFiles::default()).unwrap();
    assert_eq!(from_vocab.encode_document(text).unwrap(), tokenizer.encode_document(text).unwrap());
}

#[test]
fn every_token_streams_as_it_decodes() {
    let mut tokenizers = Vec::new();
    tokenizers.extend(shared("models/TinyStories-656K").map(|path| folder(&path)));
    for name in ["gpt-2", "llama-spm"] {
        let path = shared(&format!("tokenizers/llamacpp-vocabs/ggml-vocab-{name}.gguf"));
        tokenizers.extend(path.map(|path| gguf_file(&path)));
    }
    let text = " A 🫠 is 3\u{a0}bytes of é,\n\n  und «Führer»?\t我想";
    for tokenizer in &tokenizers {
        let ids = tokenizer.encode_text(text).unwrap();
        // The story model's vocabulary has no bytes: what it cannot spell is unknown.
        if !tokenizer.id("<unk>").is_some_and(|unknown| ids.contains(&unknown)) {
            assert_eq!(tokenizer.decode(&ids), text);
        }
        // All tokens in a row: most bytes are no UTF-8 where they meet.
        let all: Vec<u32> = (0..tokenizer.vocab_size() as u32 + 3).collect();
        let mut stream = TextStream::continuing(tokenizer);
        let mut streamed: String = all.iter().map(|id| stream.push(*id)).collect();
        streamed.push_str(&stream.finish());
        let bytes: Vec<u8> = all.iter().flat_map(|id| tokenizer.piece(*id)).copied().collect();
        assert_eq!(streamed, String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn special_tokens_are_parsed_in_prompts_and_nowhere_else() {
    let Some(path) = shared("tokenizers/qwen2") else { return };
    let tokenizer = folder(&path);
    let text = "<|im_start|>user\nhi<|im_end|>";
    let (start, end) = (tokenizer.id("<|im_start|>").unwrap(), tokenizer.id("<|im_end|>").unwrap());
    let prompt = tokenizer.encode_prompt(text).unwrap();
    assert_eq!((prompt[0], *prompt.last().unwrap()), (start, end));
    let plain = tokenizer.encode_text(text).unwrap();
    assert!(!plain.contains(&start) && !plain.contains(&end));
    assert_eq!(tokenizer.decode(&plain), text);
    assert_eq!(tokenizer.decode(&prompt), "user\nhi");
    assert!(tokenizer.is_end(end) && tokenizer.is_end(151_643) && !tokenizer.is_end(start));
    assert_eq!(tokenizer.bos(), None);
}
