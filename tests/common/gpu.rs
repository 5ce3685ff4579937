//! A device for tests, and models opened from folders or bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::hub::ModelFiles;
use trice::source::{FileSource, MemorySource, Source};

/// Waits for a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// The device under test: `TRICE_DEVICE` chooses. None, said loudly, where there is no adapter; with `REQUIRE_GPU` that is
/// a failure.
pub fn test_gpu() -> Option<Rc<Gpu>> {
    raw_gpu().map(Rc::new)
}

/// As `test_gpu`, not shared yet.
pub fn raw_gpu() -> Option<Gpu> {
    match block_on(Gpu::open(std::env::var("TRICE_DEVICE").ok().as_deref())) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("REQUIRE_GPU").is_some() => panic!("{error}"),
        Err(error) => {
            println!("skipped: no GPU test here: {error}");
            None
        }
    }
}

/// Whether shaders of the device under test have 16-bit floats; said where not.
pub fn has_f16() -> bool {
    let has = raw_gpu().is_some_and(|gpu| gpu.caps().f16);
    if !has {
        println!("skipped: shaders have no 16-bit floats here");
    }
    has
}

/// A GGUF in memory.
pub fn open_bytes(name: &str, bytes: Vec<u8>) -> Checkpoint {
    let source: Rc<dyn Source> = Rc::new(MemorySource::new(name, bytes));
    let files = ModelFiles { name: name.to_owned(), weights: vec![source], side: BTreeMap::new() };
    block_on(Checkpoint::open(files)).unwrap()
}

/// A Hugging Face folder of the shared material, with one safetensors file.
pub fn open_folder(path: &str) -> Checkpoint {
    let folder = super::shared(path).unwrap();
    let open = |file: &Path| -> Rc<dyn Source> { Rc::new(FileSource::open(file).unwrap()) };
    let mut side = BTreeMap::new();
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    ] {
        if folder.join(name).exists() {
            side.insert(name.to_owned(), open(&folder.join(name)));
        }
    }
    let weights = vec![open(&folder.join("model.safetensors"))];
    block_on(Checkpoint::open(ModelFiles { name: path.to_owned(), weights, side })).unwrap()
}
