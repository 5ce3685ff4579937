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
