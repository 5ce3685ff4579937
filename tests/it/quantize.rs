//! Models written to GGUF files: what they hold, what is refused, and that they compute what they were made of.

use crate::common::gguf_writer::GgufWriter;
use crate::common::gpu::{block_on, open_bytes, test_gpu};
use crate::common::hashed::{Golden, read_goldens};
use crate::common::reference::{check, noise, rms_norm};
use crate::common::shared;
use crate::program::{folder_with, has_gpu, json, last_error, run, shared_model, stdout};
use serde_json::{Value as Json, json as value};
use std::fs;
use trice::export::{Export, Written, write_gguf};
use trice::format::gguf::Writer;
use trice::format::mix::Mix;
use trice::format::view::View;
use trice::format::{Checkpoint, Config, DType, Metadata, TensorInfo, Value, blocks};
use trice::hub::{self, HubOptions, ModelName};
use trice::measure::calibrate;
use trice::text::Tokenizer;
use trice::{Error, LoadOptions, Result, Session};

const DOWN: &str = "blk.0.ffn_down.weight";
const NORM: &str = "blk.0.attn_norm.weight";

/// A file of two matrices, of which one has rows of no whole blocks of 256, and a norm in 16 bits.
fn file(down: &[f32]) -> Vec<u8> {
    let norm = blocks::quantize(DType::F16, &[0.5; 256], None).unwrap();
    GgufWriter::default()
        .string("general.architecture", "llama")
        .uint("general.alignment", 32)
        .uint("general.file_type", 1)
        .uint("split.count", 1)
        .float("llama.rope.freq_base", 10_000.0)
        .bool("tokenizer.ggml.add_bos_token", true)
        .strings("tokenizer.ggml.tokens", &["a", "é"])
        .floats("tokenizer.ggml.scores", &[0.0, -1.5])
        .ints("tokenizer.ggml.token_type", &[1, -1])
        .f32_tensor(DOWN, &[6, 256], down)
        .f32_tensor("blk.0.attn_q.weight", &[3, 96], &noise(2, 3 * 96))
        .tensor(NORM, DType::F16, &[256], &norm)
        .finish()
}

fn written(checkpoint: Checkpoint, mix: &str) -> Result<(Vec<u8>, Written)> {
    let mut out = Vec::new();
    let mix = Mix::from_name(mix)?;
    let report = pollster::block_on(write_gguf(checkpoint, &mix, &mut out, "out.gguf", &mut |_, _| Ok(())))?;
    Ok((out, report))
}

fn rows(checkpoint: &Checkpoint, name: &str) -> (DType, Vec<u8>) {
    let tensor = checkpoint.tensor(name).unwrap();
    (tensor.dtype, pollster::block_on(checkpoint.read_rows(tensor, 0, tensor.rows())).unwrap())
}

#[test]
fn a_written_file_holds_rounded_matrices_and_the_same_keys() {
    let down = noise(1, 6 * 256);
    for (mix, of_down, of_q) in [
        ("Q4_K_S", DType::Q4_K, DType::Q5_0),
        ("Q3_K_M", DType::Q4_K, DType::Q4_0),
        ("Q2_K", DType::Q3_K, DType::Q4_0),
        ("Q6_K", DType::Q6_K, DType::Q8_0),
        ("q5_1", DType::Q5_1, DType::Q5_1),
        ("BF16", DType::BF16, DType::BF16),
    ] {
        let source = open_bytes("in.gguf", file(&down));
        let (bytes, report) = written(source, mix).unwrap();
        let checkpoint = open_bytes("out.gguf", bytes);
        assert_eq!(rows(&checkpoint, DOWN), (of_down, blocks::quantize(of_down, &down, None).unwrap()), "{mix}");
        assert_eq!(rows(&checkpoint, "blk.0.attn_q.weight").0, of_q, "{mix}");
        assert_eq!(rows(&checkpoint, NORM), (DType::F32, bytemuck::cast_slice(&[0.5f32; 256]).to_vec()));
        let falls_back = of_q.block_len() == 32 && of_down.block_len() == 256;
        assert_eq!(report.fell_back.len(), usize::from(falls_back), "{mix}: {report:?}");
        assert_eq!((report.n_params, report.weight_bytes), (checkpoint.n_params(), checkpoint.weight_bytes()));
        let Config::Gguf(found) = checkpoint.config() else { panic!("GGUF wanted") };
        assert_eq!(found.uint("general.file_type"), Mix::from_name(mix).unwrap().file_type());
        assert_eq!(found.uint("split.count"), None);
        assert_eq!(found.float("llama.rope.freq_base"), Some(10_000.0));
        assert_eq!(found.bool("tokenizer.ggml.add_bos_token"), Some(true));
        assert_eq!(found.strings("tokenizer.ggml.tokens").unwrap(), ["a", "é"]);
        assert_eq!(found.floats("tokenizer.ggml.scores").unwrap(), [0.0, -1.5]);
        assert_eq!(found.ints("tokenizer.ggml.token_type").unwrap(), [1, -1]);
    }
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let mut down = noise(1, 6 * 256);
    down[700] = f32::NAN;
    for mix in ["Q4_K_M", "F16", "F32"] {
        let error = written(open_bytes("in.gguf", file(&down)), mix).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
        assert!(error.to_string().contains(&format!("tensor {DOWN}: finite weights wanted, row 2")), "{error}");
    }
    // Too large for the type it shall have.
    down[700] = 1e9;
    for mix in ["Q4_K_M", "F16"] {
        let error = written(open_bytes("in.gguf", file(&down)), mix).unwrap_err();
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains(DOWN), "{mix}: {error}");
    }
    let error = written(open_bytes("in.gguf", file(&noise(1, 6 * 256))), "MXFP4").unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("MXFP4"), "{error}");
}

#[test]
fn a_writer_wants_exactly_the_bytes_it_was_promised() {
    let tensor = TensorInfo {
        name: "t".to_owned(),
        dtype: DType::F32,
        shape: vec![3],
        file: 0,
        offset: 0,
        n_bytes: 12,
        view: View::AsFiled,
    };
    let mut metadata = Metadata::default();
    metadata.0.insert("large".to_owned(), Value::U64(1 << 40));
    metadata.0.insert("negative".to_owned(), Value::I64(-7));
    let new = || Writer::new(Vec::new(), "out.gguf", &metadata, &[&tensor]).unwrap();
    let mut writer = new();
    writer.write(&[1; 5]).unwrap();
    writer.write(&[1; 7]).unwrap();
    let checkpoint = open_bytes("out.gguf", writer.finish().unwrap());
    let Config::Gguf(found) = checkpoint.config() else { panic!("GGUF wanted") };
    assert_eq!(found.0.get("large"), Some(&Value::U64(1 << 40)));
    assert_eq!(found.0.get("negative"), Some(&Value::I64(-7)));
    assert!(matches!(new().write(&[1; 13]), Err(Error::Invalid { .. })));
    let mut short = new();
    short.write(&[1; 11]).unwrap();
    assert!(short.finish().unwrap_err().to_string().contains("1 more bytes of tensor t"));
}

#[test]
fn floats_are_rounded_while_loading_and_all_else_is_not() {
    let down = noise(1, 6 * 256);
    let loaded = open_bytes("in.gguf", file(&down)).load_as(&Mix::from_name("Q8_0").unwrap()).unwrap();
    assert_eq!(rows(&loaded, DOWN), (DType::Q8_0, blocks::quantize(DType::Q8_0, &down, None).unwrap()));
    assert_eq!(rows(&loaded, NORM).0, DType::F16);
    let part = pollster::block_on(loaded.read_rows(loaded.tensor(DOWN).unwrap(), 2, 3)).unwrap();
    assert_eq!(part, blocks::quantize(DType::Q8_0, &down[2 * 256..5 * 256], None).unwrap());
    let rounded_already = open_bytes("q8.gguf", written(open_bytes("in.gguf", file(&down)), "Q8_0").unwrap().0);
    assert_eq!(rows(&rounded_already.load_as(&Mix::from_name("Q4_0").unwrap()).unwrap(), DOWN).0, DType::Q8_0);
}

#[test]
fn the_command_says_what_it_wrote_and_what_it_does_not_write() {
    let folder = folder_with(&[("in.gguf", &file(&noise(1, 6 * 256)))]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (from, to) = (path("in.gguf"), path("out.gguf"));
    let report = json(&["quantize", &from, &to, "--type", "q4_k_s", "--json"]);
    assert_eq!((report["type"].as_str(), report["file"].as_str()), (Some("Q4_K_S"), Some(to.as_str())));
    assert_eq!(report["file_bytes"], fs::metadata(&to).unwrap().len());
    assert_eq!(report["fell_back"][0][1], "Q5_0");
    assert!((7.5..8.5).contains(&report["bits_per_weight"].as_f64().unwrap()), "{report}");
    let text = stdout(&run(&["quantize", &from, &to, "--type", "Q8_0"]));
    assert!(text.contains("Q8_0") && text.contains("bits per weight"), "{text}");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["quantize", &from, &from, "--type", "Q8_0"], 2, "is what is read"),
        (&["quantize", &from, &path("out.bin"), "--type", "Q8_0"], 2, "ends in .gguf"),
        (&["quantize", &from, &to, "--type", "MXFP4"], 1, "MXFP4"),
        (&["quantize", &from, &path("none/out.gguf"), "--type", "Q8_0"], 1, "out.gguf"),
        (&["quantize", &path("none.gguf"), &to, "--type", "Q8_0"], 1, "none.gguf"),
    ];
    for (args, code, fragment) in cases {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(last_error(&output).contains(fragment), "{args:?}: {}", last_error(&output));
    }
    for args in [&["quantize", &from, &to][..], &["quantize", &from, &to, "--type", "Q9_Z"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["in.gguf", "out.gguf"]);
}

fn golden(name: &str, goldens: &str) -> Golden {
    read_goldens(goldens).into_iter().find(|golden| golden.name() == name).unwrap()
}

/// GPT-2's matrices are stored the other way round: their rows are gathered before they are rounded.
#[test]
fn matrices_that_are_stored_transposed_are_rounded() {
    let golden = golden("gpt2", include_str!("../golden/decoders.json"));
    let name = "blk.1.ffn_up.weight";
    let (_, plain) = rows(&golden.folder(), name);
    let wanted = blocks::quantize(DType::F16, bytemuck::cast_slice(&plain), None).unwrap();
    let loaded = golden.folder().load_as(&Mix::from_name("F16").unwrap()).unwrap();
    assert_eq!(rows(&loaded, name), (DType::F16, wanted));
}

/// GPT-NeoX's q, k and v are one matrix of a file, of one type, though mixes favour v.
#[test]
fn parts_of_a_matrix_are_rounded_alike() {
    let golden = golden("gpt_neox, parallel", include_str!("../golden/decoders.json"));
    let mix = Mix::from_name("Q4_K_M").unwrap();
    let loaded = golden.folder().load_as(&mix).unwrap();
    let mut file = Vec::new();
    let export = block_on(Export::new(golden.folder())).unwrap();
    block_on(export.write(&mix, &mut file, "out.gguf", &mut |_, _| Ok(()))).unwrap();
    let parts = ["attn_q", "attn_k", "attn_v"].map(|part| rows(&loaded, &format!("blk.1.{part}.weight")));
    let (dtype, joined) = rows(&open_bytes("out.gguf", file), "blk.1.attn_qkv.weight");
    assert!(parts.iter().all(|part| part.0 == dtype), "{dtype:?}");
    assert_eq!(joined, parts.map(|part| part.1).concat());
}

/// Older BERTs have their words in `vocab.txt` alone.
#[test]
fn a_list_of_words_becomes_the_tokenizer_of_a_file() {
    let golden = golden("bert, mean pooling", include_str!("../golden/encoders.json"));
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "cat", "##s", "!", ",", "c", "##a", "##t"];
    let mut vocab: Vec<String> = words.map(str::to_owned).to_vec();
    vocab.extend((vocab.len()..60).map(|i| format!("word{i}")));
    let text = "The cats, the CAT!";
    let mut texts = Vec::new();
    for lower_case in [true, false] {
        let config = value!({"do_lower_case": lower_case}).to_string();
        let files = [("vocab.txt", vocab.join("\n")), ("tokenizer_config.json", config)];
        let folder = || golden.folder_beside(&files);
        let file = open_bytes("out.gguf", written(folder(), "F32").unwrap().0);
        let ids = |checkpoint: &Checkpoint| {
            block_on(Tokenizer::from_checkpoint(checkpoint)).unwrap().encode_document(text).unwrap()
        };
        assert_eq!(ids(&file), ids(&folder()));
        texts.push(ids(&file));
    }
    assert_eq!(texts[0], [2, 5, 7, 8, 10, 5, 7, 9, 3]);
    assert_eq!(texts[1], [2, 6, 7, 8, 10, 5, 1, 9, 3]);
    let error = written(golden.folder(), "F32").unwrap_err().to_string();
    assert!(error.contains("no tokenizer.json and no vocab.txt"), "{error}");
}

/// A pooler without a head is what no file uses.
#[test]
fn tensors_that_no_file_uses_are_named() {
    let golden = golden("bert, mean pooling", include_str!("../golden/encoders.json"));
    let export = block_on(Export::new(golden.folder())).unwrap();
    let report = block_on(export.write(&Mix::from_name("F32").unwrap(), Vec::new(), "out.gguf", &mut |_, _| Ok(())));
    assert_eq!(report.unwrap().left_out, ["cls.bias", "cls.weight"]);
}

#[test]
fn folders_become_files_that_open_by_themselves() {
    for (model, architecture) in [("TinyStories-656K", "llama"), ("all-MiniLM-L6-v2", "bert"), ("minilm-sst2", "bert")]
    {
        let Some(path) = shared(&format!("models/{model}")) else { return };
        let folder = folder_with(&[]);
        let to = folder.path().join("out.gguf").display().to_string();
        let report = json(&["quantize", &path.display().to_string(), &to, "--type", "Q8_0", "--json"]);
        assert!(report["fell_back"].as_array().unwrap().is_empty(), "{report}");
        let inspected = json(&["inspect", &to, "--json"]);
        assert_eq!(inspected["architecture"], architecture);
        assert!(["decoder", "encoder"].contains(&inspected["runs_as"].as_str().unwrap()), "{inspected}");
    }
}

#[test]
fn gpu_a_folder_answers_as_its_file_does() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let folder = folder_with(&[]);
    let tokens = |model: &str, more: &[&str]| {
        let args = ["chat", model, "--raw", "-p", "Once upon a time", "--temp", "0", "-n", "48", "--json"];
        json(&[&args, more].concat())["tokens"].clone()
    };
    for (mix, load_as) in [("F32", &[][..]), ("Q8_0", &["--load-as", "q8_0"]), ("Q4_K_M", &["--load-as", "Q4_K_M"])] {
        let to = folder.path().join(format!("{mix}.gguf")).display().to_string();
        json(&["quantize", &model, &to, "--type", mix, "--json"]);
        let wanted = tokens(&model, load_as);
        assert_eq!(wanted.as_array().unwrap().len(), 48);
        assert_eq!(tokens(&to, &[]), wanted, "{mix}");
    }
}

/// The same weights under other facts: each must come through the file's own words for it.
#[test]
fn gpu_facts_of_a_folder_come_through_its_file() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let llama3 = value!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64});
    let facts = [
        ("rope_scaling", llama3),
        ("rope_scaling", value!({"type": "linear", "factor": 2.0})),
        ("rope_theta", value!(500_000.0)),
        ("model_type", value!("qwen2")),
    ];
    let next = |model: &str| {
        let args = ["chat", model, "--raw", "-p", "Once upon a time there was a little dog", "--temp", "0", "-n", "1"];
        json(&[&args[..], &["--json", "--logprobs", "5"]].concat())["logprobs"].clone()
    };
    let plain = next(&model);
    for (key, fact) in facts {
        let folder = folder_with(&[]);
        for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            fs::copy(format!("{model}/{name}"), folder.path().join(name)).unwrap();
        }
        let mut config: Json = serde_json::from_slice(&fs::read(format!("{model}/config.json")).unwrap()).unwrap();
        config[key] = fact.clone();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let (from, to) = (folder.path().display().to_string(), folder.path().join("out.gguf").display().to_string());
        json(&["quantize", &from, &to, "--type", "F32", "--json"]);
        let (wanted, found) = (next(&from), next(&to));
        let all = |steps: &Json| -> Vec<(u64, f64)> {
            let top = steps[0]["top"].as_array().unwrap().iter();
            top.map(|one| (one["id"].as_u64().unwrap(), one["logprob"].as_f64().unwrap())).collect()
        };
        for (a, b) in all(&found).into_iter().zip(all(&wanted)) {
            assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-4, "{key} {fact}: {found}, {wanted} was wanted");
        }
        // The fact is one that shows, but for the name.
        assert!(key == "model_type" || wanted != plain, "{key} {fact} changes nothing");
    }
}

#[test]
fn gpu_an_encoder_embeds_as_its_file_does() {
    let Some(model) = shared_model("models/all-MiniLM-L6-v2") else { return };
    let folder = folder_with(&[]);
    let to = folder.path().join("out.gguf").display().to_string();
    json(&["quantize", &model, &to, "--type", "F32", "--json"]);
    let embedding =
        |model: &str| json(&["embed", model, "Cats sleep; they'd purr at 3 o'clock.", "--json"])["embedding"].clone();
    assert_eq!(embedding(&to), embedding(&model));
}

#[test]
fn gpu_a_mix_of_two_bits_still_writes_stories() {
    if !has_gpu() {
        return;
    }
    let folder = folder_with(&[]);
    let to = folder.path().join("out.gguf").display().to_string();
    let report = json(&["quantize", "builtin:stories", &to, "--type", "Q2_K", "--json"]);
    assert!(report["bits_per_weight"].as_f64().unwrap() < 3.6, "{report}");
    let story = json(&["chat", &to, "--raw", "-p", "Once upon a time", "--temp", "0", "-n", "32", "--json"]);
    let text = story["text"].as_str().unwrap();
    assert!(text.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).count() > 15, "{text}");
}

/// What the first layer's q, k and v are multiplied by can be worked out by hand: normed embeddings.
#[test]
fn gpu_calibration_takes_the_mean_squares_of_what_matrices_meet() {
    let Some(gpu) = test_gpu() else { return };
    block_on(async {
        let name = ModelName::parse("builtin:stories").unwrap();
        let files = hub::open(&name, &HubOptions::default(), &mut |_| {}).await.unwrap();
        let checkpoint = Checkpoint::open(files).await.unwrap();
        let mut session = Session::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {}).await.unwrap();
        let ids = session.tokenizer().encode_text(&"Once upon a time there was a cat. ".repeat(40)).unwrap();
        let importance = calibrate(&mut session, &checkpoint, &ids, &mut |_, _| Ok(())).await.unwrap();
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
            let found = &importance[&format!("blk.3.{name}.weight")];
            assert!(
                found.iter().all(|mean| mean.is_finite() && *mean >= 0.0) && found.iter().sum::<f32>() > 0.0,
                "{name}"
            );
        }
        let embeddings = checkpoint.read_f32("token_embd.weight").await.unwrap();
        let norm = checkpoint.read_f32(NORM).await.unwrap();
        let dim = norm.len();
        let bos = session.tokenizer().added_bos();
        let read: Vec<u32> =
            ids.chunks(512 - bos.iter().len()).flat_map(|piece| bos.into_iter().chain(piece.iter().copied())).collect();
        assert!(read.len() > 128, "more than a chunk is wanted, not {}", read.len());
        let mut wanted = vec![0.0f64; dim];
        for id in &read {
            let x = rms_norm(&embeddings[*id as usize * dim..][..dim], &norm, 1e-5);
            wanted.iter_mut().zip(&x).for_each(|(sum, x)| *sum += f64::from(*x).powi(2) / read.len() as f64);
        }
        check("mean squares", &importance["blk.0.attn_v.weight"], &wanted, 1e-6);
        assert!(calibrate(&mut session, &checkpoint, &[], &mut |_, _| Ok(())).await.is_err());
    });
}

#[test]
fn weights_are_rounded_by_the_importance_of_their_columns() {
    let down = noise(1, 6 * 256);
    let importance: Vec<f32> = noise(9, 256).iter().map(|x| (5.0 * x).exp()).collect();
    let weighed = open_bytes("in.gguf", file(&down)).weighed([(DOWN.to_owned(), importance.clone())].into());
    let checkpoint = open_bytes("out.gguf", written(weighed, "Q4_K_S").unwrap().0);
    let wanted = blocks::quantize(DType::Q4_K, &down, Some(&importance)).unwrap();
    assert_eq!(rows(&checkpoint, DOWN).1, wanted);
    assert_ne!(wanted, blocks::quantize(DType::Q4_K, &down, None).unwrap());
}
