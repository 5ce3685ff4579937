//! Real models through the readers: names, shapes, values and side files.

use crate::common::{llama2c, shared};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use trice::format::{Checkpoint, Config};
use trice::hub::ModelFiles;
use trice::source::{FileSource, Source};

/// Opens a folder of the hub's layout.
fn open_folder(folder: &Path, weights: &str) -> Checkpoint {
    let file = |name: &str| Rc::new(FileSource::open(folder.join(name)).unwrap()) as Rc<dyn Source>;
    let mut side = BTreeMap::new();
    for name in ["config.json", "tokenizer.json"] {
        if folder.join(name).exists() {
            side.insert(name.to_owned(), file(name));
        }
    }
    let files = ModelFiles { name: "folder".to_owned(), weights: vec![file(weights)], side };
    pollster::block_on(Checkpoint::open(files)).unwrap()
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect()
}

#[test]
fn reads_a_tied_decoder() {
    let Some(folder) = shared("models/TinyStories-656K") else { return };
    let checkpoint = open_folder(&folder, "model.safetensors");
    let Config::HuggingFace(config) = checkpoint.config() else { panic!("a config.json wanted") };
    assert_eq!(config["hidden_size"], 128);
    assert_eq!(checkpoint.n_params(), 656_000);
    assert_eq!(checkpoint.weight_bytes(), 656_000 * 4);
    assert_eq!(checkpoint.tensor("output.weight").unwrap().shape, [2048, 128]);
    assert_eq!(checkpoint.tensor("blk.1.ffn_down.weight").unwrap().shape, [128, 384]);
    assert_eq!(names(&checkpoint).len(), 1 + 2 * 9 + 1);
    assert!(names(&checkpoint).iter().all(|name| !name.starts_with("model.")));
    let norm = pollster::block_on(checkpoint.read_f32("output_norm.weight")).unwrap();
    assert!(norm.len() == 128 && norm.iter().all(|weight| weight.abs() < 100.0));
    let tokenizer = pollster::block_on(checkpoint.side_text("tokenizer.json")).unwrap().unwrap();
    assert!(tokenizer.starts_with(b"{"));
    assert!(pollster::block_on(checkpoint.side_text("vocab.txt")).unwrap().is_none());
}

#[test]
fn reads_berts_with_and_without_a_prefix() {
    for (folder, head) in [("models/all-MiniLM-L6-v2", None), ("models/minilm-sst2", Some([2, 384]))] {
        let Some(folder) = shared(folder) else { return };
        let checkpoint = open_folder(&folder, "model.safetensors");
        let names = names(&checkpoint);
        assert!(names.iter().all(|name| !name.contains("encoder") && !name.contains("embeddings")), "{names:?}");
        assert_eq!(checkpoint.tensor("token_embd.weight").unwrap().shape, [30_522, 384]);
        assert_eq!(checkpoint.tensor("blk.5.ffn_up.bias").unwrap().shape, [1536]);
        assert_eq!(names.iter().filter(|name| name.starts_with("blk.0.")).count(), 16);
        let found = checkpoint.tensor("cls.output.weight").map(|tensor| tensor.shape.clone());
        assert_eq!(found, head.map(|head| head.to_vec()));
    }
}

#[test]
fn reads_a_head_alone() {
    let Some(folder) = shared("models/minilm-heads") else { return };
    let checkpoint = open_folder(&folder, "trec6.safetensors");
    assert_eq!(names(&checkpoint), ["cls.output.bias", "cls.output.weight"]);
    assert!(checkpoint.safetensors_metadata().is_empty());
    assert!(matches!(checkpoint.config(), Config::HuggingFace(config) if config.is_null()));
}

#[test]
fn converts_llama2c() {
    let Some(folder) = shared("models/stories260K") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let file = llama2c::to_gguf(&read("stories260K.bin"), &read("tok512.bin"));
    let checkpoint = super::open_one(&file).unwrap();
    let Config::Gguf(metadata) = checkpoint.config() else { panic!("GGUF wanted") };
    assert_eq!(metadata.uint("llama.attention.head_count_kv"), Some(4));
    assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap()[259], "\u{2581}t");
    assert_eq!(checkpoint.tensor("blk.4.ffn_down.weight").unwrap().shape, [64, 172]);
    assert_eq!(checkpoint.n_params(), 260_032);
    assert!(checkpoint.tensor("output.weight").is_none());
}

#[test]
fn reads_real_vocabularies() {
    let Some(folder) = shared("tokenizers/llamacpp-vocabs") else { return };
    let mut n_read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let weights: Vec<Rc<dyn Source>> = vec![Rc::new(FileSource::open(&path).unwrap())];
        let files = ModelFiles { name: path.display().to_string(), weights, side: BTreeMap::new() };
        let checkpoint = pollster::block_on(Checkpoint::open(files)).unwrap();
        let Config::Gguf(metadata) = checkpoint.config() else { panic!("GGUF wanted") };
        let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap();
        assert_eq!(metadata.ints("tokenizer.ggml.token_type").unwrap().len(), tokens.len(), "{}", path.display());
        n_read += 1;
    }
    println!("{n_read} vocabularies read");
    assert!(n_read >= 10);
}
