//! Models that are whole files and make no sense: each is refused in one sentence that names what is wrong, before
//! anything is generated, and the device stays good.

use crate::common::gpu::{block_on, raw_gpu, test_gpu};
use crate::common::toy::{CONTEXT, DIM, FFN_DIM, Meta, Toy, decoder_tokens, llama_config};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::format::{Checkpoint, DType, blocks};
use trice::gpu::Gpu;
use trice::session::{GenerateOptions, LoadOptions, Session};
use trice::tasks::TextEncoder;
use trice::{Error, Result};

fn load_decoder(gpu: &Rc<Gpu>, checkpoint: &Checkpoint) -> Result<Session> {
    block_on(Session::load(gpu, checkpoint, &LoadOptions::default(), &mut |_| {}))
}

fn load_encoder(gpu: &Rc<Gpu>, checkpoint: &Checkpoint) -> Result<TextEncoder> {
    block_on(TextEncoder::load(gpu, checkpoint, &LoadOptions::default(), &mut |_| {}))
}

/// Loads each case, which must be refused in words that hold its fragment; then the device must still load and run `good`.
struct Refusals {
    gpu: Rc<Gpu>,
    n: usize,
    wrong: Vec<String>,
}

impl Refusals {
    fn new() -> Option<Self> {
        Some(Self { gpu: test_gpu()?, n: 0, wrong: Vec::new() })
    }

    fn expect<T>(&mut self, name: &str, outcome: Result<T>, fragment: &str) {
        self.n += 1;
        match outcome {
            Err(error @ (Error::Format { .. } | Error::Unsupported { .. } | Error::Limit { .. }))
                if error.to_string().contains(fragment) => {}
            Err(error) => self.wrong.push(format!("{name}: {fragment:?} wanted, found {error:?}: {error}")),
            Ok(_) => self.wrong.push(format!("{name}: accepted")),
        }
    }

    fn decoder(&mut self, name: &str, toy: Toy, fragment: &str) {
        let outcome = load_decoder(&self.gpu, &toy.open());
        self.expect(name, outcome, fragment);
    }

    fn encoder(&mut self, name: &str, toy: Toy, fragment: &str) {
        let outcome = load_encoder(&self.gpu, &toy.open());
        self.expect(name, outcome, fragment);
    }

    fn finish(self) {
        println!("{}/{} refused", self.n - self.wrong.len(), self.n);
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        let mut session = load_decoder(&self.gpu, &Toy::llama().open()).unwrap();
        let options = GenerateOptions { max_tokens: Some(4), ignore_end: true, ..GenerateOptions::default() };
        let answer = block_on(session.generate(&[1, 2, 3], &options, &mut |_| ControlFlow::Continue(()))).unwrap();
        assert_eq!(answer.tokens.len(), 4);
        let mut encoder = load_encoder(&self.gpu, &Toy::bert().open()).unwrap();
        assert_eq!(block_on(encoder.embed(&["a b"], None, trice::tasks::Scaling::Raw)).unwrap()[0].len(), DIM as usize);
    }
}

#[test]
fn gpu_hyperparameters_out_of_range_are_refused() {
    let Some(mut refusals) = Refusals::new() else { return };
    let llama = Toy::llama;
    let heads = "llama.attention.head_count";
    let eps = "llama.attention.layer_norm_rms_epsilon";
    let yarn = || llama().text("llama.rope.scaling.type", "yarn");
    for (name, toy, fragment) in [
        ("no architecture", llama().without("general.architecture"), "general.architecture is missing"),
        ("unknown architecture", llama().text("general.architecture", "mamba"), "architecture mamba"),
        ("architecture as a number", llama().float("general.architecture", 1.0), "general.architecture is no text"),
        ("no layers", llama().uint("llama.block_count", 0), "llama.block_count is 0"),
        ("513 layers", llama().uint("llama.block_count", 513), "llama.block_count is 513"),
        ("2^32-1 layers", llama().uint("llama.block_count", u32::MAX), "llama.block_count is 4294967295"),
        ("fewer layers than tensors", llama().uint("llama.block_count", 1), "blk.1."),
        ("layers as a float", llama().float("llama.block_count", 2.0), "llama.block_count is no whole number"),
        ("no heads", llama().uint(heads, 0), "llama.attention.head_count is 0"),
        ("heads that differ by layer", llama().set(heads, Meta::Ints(vec![4, 2])), "is no whole number"),
        ("heads that do not divide", llama().uint(heads, 6), "6 heads do not divide"),
        ("no kv heads", llama().uint("llama.attention.head_count_kv", 0), "head_count_kv is 0"),
        ("kv heads that do not divide", llama().uint("llama.attention.head_count_kv", 3), "do not divide 4 heads"),
        ("more kv heads", llama().uint("llama.attention.head_count_kv", 8), "head_count_kv is 8"),
        ("odd heads", llama().uint("llama.attention.key_length", 15), "heads of 15 values"),
        ("no width", llama().uint("llama.embedding_length", 0), "llama.embedding_length is 0"),
        ("no feed-forward width", llama().without("llama.feed_forward_length"), "feed_forward_length is missing"),
        ("context 0", llama().uint("llama.context_length", 0), "llama.context_length is 0"),
        ("context 2^31", llama().uint("llama.context_length", 1 << 31), "llama.context_length is 2147483648"),
        ("eps 0", llama().float(eps, 0.0), "layer_norm_rms_epsilon is 0"),
        ("eps NaN", llama().float(eps, f32::NAN), "layer_norm_rms_epsilon is NaN"),
        ("eps as a text", llama().text(eps, "1e-5"), "layer_norm_rms_epsilon is no number"),
        ("rope base 0", llama().float("llama.rope.freq_base", 0.0), "llama.rope.freq_base is 0"),
        ("rope base inf", llama().float("llama.rope.freq_base", f32::INFINITY), "llama.rope.freq_base is inf"),
        ("rope base as a text", llama().text("llama.rope.freq_base", "x"), "llama.rope.freq_base is no number"),
        ("half a head rotated", llama().uint("llama.rope.dimension_count", 8), "rotating 8 of 16"),
        ("unknown scaling", llama().text("llama.rope.scaling.type", "spiral"), "rope scaling spiral"),
        ("scaling factor 0", yarn().float("llama.rope.scaling.factor", 0.0), "must be positive, not 0"),
        ("scaling from 0", yarn().uint("llama.rope.scaling.original_context_length", 0), "must be positive, not 0"),
        ("experts", llama().uint("llama.expert_count", 4).uint("llama.expert_used_count", 9), "mixture of experts"),
        ("an encoder", Toy::bert(), "it is an encoder"),
    ] {
        refusals.decoder(name, toy, fragment);
    }
    let bert = Toy::bert;
    for (name, toy, fragment) in [
        ("a decoder", llama(), "it is a decoder"),
        ("grouped heads", bert().uint("bert.attention.head_count_kv", 2), "2 kv heads"),
        ("narrow heads", bert().uint("bert.attention.key_length", 8), "heads of 8 values"),
        ("unknown pooling", bert().uint("bert.pooling_type", 9), "pooling type 9"),
        ("context beyond the positions", bert().uint("bert.context_length", 65), "position_embd.weight has 64 rows"),
        ("eps 0", bert().float("bert.attention.layer_norm_epsilon", 0.0), "layer_norm_epsilon is 0"),
        ("three names for two labels", labelled(3), "3 labels are named, the head has 2 rows"),
    ] {
        refusals.encoder(name, toy, fragment);
    }
    refusals.finish();
}

/// A feed-forward layer of that width whose gates are F32 and whose ups are F16.
fn mixed(width: u64) -> Toy {
    let values = vec![0.5; (width * DIM) as usize];
    Toy::llama()
        .uint("llama.feed_forward_length", width as u32)
        .weights("blk.0.ffn_gate.weight", DType::F32, &[width, DIM], &values)
        .weights("blk.0.ffn_up.weight", DType::F16, &[width, DIM], &values)
        .weights("blk.0.ffn_down.weight", DType::F32, &[DIM, width], &values)
}

fn labelled(n: usize) -> Toy {
    let labels = (0..n).map(|i| format!("label {i}")).collect();
    Toy::classifier(2).set("bert.classifier.output_labels", Meta::Texts(labels))
}

#[test]
fn gpu_tensors_that_do_not_fit_are_refused() {
    let Some(mut refusals) = Refusals::new() else { return };
    let llama = Toy::llama;
    let f32s = |toy: Toy, name: &str, shape: &[u64]| {
        toy.weights(name, DType::F32, shape, &vec![0.5; shape.iter().product::<u64>() as usize])
    };
    let tokens = decoder_tokens().len() as u64;
    for (name, toy, fragment) in [
        ("a matrix is missing", llama().without("blk.1.attn_q.weight"), "blk.1.attn_q.weight is missing"),
        ("a norm is missing", llama().without("blk.0.ffn_norm.weight"), "blk.0.ffn_norm.weight is missing"),
        ("no embedding", llama().without("token_embd.weight").without("output.weight"), "token_embd.weight is missing"),
        ("transposed", f32s(llama(), "blk.0.ffn_down.weight", &[FFN_DIM, DIM]), "blk.0.ffn_down.weight has 256 rows"),
        ("wrong rows", f32s(llama(), "blk.0.attn_k.weight", &[16, DIM]), "has 112 rows, 128 were wanted"),
        ("wrong width", f32s(llama(), "blk.0.attn_v.weight", &[32, 32]), "blk.0.attn_v.weight has shape [32, 32]"),
        ("a vector for a matrix", f32s(llama(), "blk.0.attn_output.weight", &[DIM * DIM]), "blk.0.attn_output.weight"),
        ("a short norm", f32s(llama(), "output_norm.weight", &[DIM - 1]), "output_norm.weight has shape [63]"),
        ("a short bias", f32s(llama(), "blk.0.attn_q.bias", &[DIM / 2]), "blk.0.attn_q.bias has shape [32]"),
        ("an unknown part", f32s(llama(), "blk.0.attn_sinks.weight", &[16]), "blk.0.attn_sinks.weight"),
        ("half of a norm", f32s(llama(), "blk.0.attn_q_norm.weight", &[16]), "blk.0.attn_k_norm.weight is missing"),
        ("more tokens than rows", f32s(llama(), "token_embd.weight", &[tokens - 1, DIM]), "the embedding 258 rows"),
        ("another head", f32s(llama(), "output.weight", &[tokens + 1, DIM]), "output.weight has 260 rows"),
        (
            "wrong rope factors",
            f32s(llama(), "rope_freqs.weight", &[7]),
            "7 factors of the rope scaling, 8 were wanted",
        ),
        ("two types in a quad of rows", mixed(126), "of toy.gguf is F16 after 126 rows of another type"),
        ("end token out of range", llama().uint("tokenizer.ggml.eos_token_id", 259), "259"),
        ("no tokenizer", llama().without("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens"),
        ("a template of 10 MB", llama().text("tokenizer.chat_template", &" ".repeat(10 << 20)), "template"),
        ("a template of minuses", llama().text("tokenizer.chat_template", &minuses()), "chains more than"),
    ] {
        refusals.decoder(name, toy, fragment);
    }
    let bert = Toy::bert;
    for (name, toy, fragment) in [
        ("a norm's bias is missing", bert().without("token_embd_norm.bias"), "token_embd_norm.bias is missing"),
        ("a short gate", f32s(bert(), "blk.0.ffn_gate.weight", &[FFN_DIM - 4, DIM]), "blk.0.ffn_gate.weight"),
        ("a narrow head", f32s(bert(), "cls.output.weight", &[2, 32]), "cls.output.weight has shape [2, 32]"),
    ] {
        refusals.encoder(name, toy, fragment);
    }
    refusals.finish();
}

fn minuses() -> String {
    format!("{{{{ {}1 }}}}", "-".repeat(5000))
}

#[test]
fn gpu_weights_that_are_no_numbers_are_refused_by_name() {
    let Some(mut refusals) = Refusals::new() else { return };
    let down = "blk.1.ffn_down.weight";
    let shape = [DIM, FFN_DIM];
    let n = (DIM * FFN_DIM) as usize;
    // f16 infinity and NaN; what each type keeps where, in its last block.
    let (inf, nan) = (0x7C00_u16.to_le_bytes(), 0x7E01_u16.to_le_bytes());
    for (dtype, at, bytes) in [
        (DType::F32, 0, &f32::NAN.to_le_bytes()[..]),
        (DType::F32, 0, &f32::NEG_INFINITY.to_le_bytes()),
        (DType::F16, 0, &nan),
        (DType::F16, 0, &inf),
        (DType::BF16, 0, &0x7F80_u16.to_le_bytes()),
        (DType::Q8_0, 0, &inf),
        (DType::Q4_0, 0, &nan),
        (DType::Q5_0, 0, &inf),
        (DType::Q4_1, 0, &nan),
        (DType::Q4_1, 2, &inf),
        (DType::Q5_1, 0, &inf),
        (DType::Q5_1, 2, &nan),
        (DType::Q4_K, 0, &inf),
        (DType::Q4_K, 2, &nan),
        (DType::Q5_K, 0, &nan),
        (DType::Q5_K, 2, &inf),
        (DType::Q6_K, 208, &inf),
        (DType::Q2_K, 80, &nan),
        (DType::Q2_K, 82, &inf),
        (DType::Q3_K, 108, &nan),
        (DType::IQ4_NL, 0, &inf),
        (DType::IQ4_XS, 0, &nan),
        // A scale that means NaN, and the smallest with which a code is an infinity.
        (DType::MXFP4, 0, &[255]),
        (DType::MXFP4, 0, &[253]),
    ] {
        // All-zero blocks of the types without a quantizer are all-zero weights.
        let zeros = vec![0; n / dtype.block_len() * dtype.block_bytes()];
        let good = blocks::quantize(dtype, &vec![0.25; n], None).unwrap_or(zeros);
        let last = good.len() - dtype.block_bytes();
        let toy = Toy::llama().tensor(down, dtype, &shape, good);
        assert!(load_decoder(&refusals.gpu, &toy.open()).is_ok(), "{}", dtype.name());
        let name = format!("{} at {at}", dtype.name());
        refusals.decoder(&name, toy.patch(down, last + at, bytes), &format!("tensor {down}: finite weights wanted"));
    }
    let nan = f32::NAN.to_le_bytes();
    let norm = "blk.0.attn_norm.weight";
    refusals.decoder("a norm", Toy::llama().patch(norm, 8, &nan), &format!("tensor {norm}: finite weights wanted"));
    let bias = "blk.0.attn_k.bias";
    refusals.encoder("a bias", Toy::bert().patch(bias, 8, &nan), &format!("tensor {bias}: finite weights wanted"));
    let word = "token_embd.weight";
    refusals.encoder(
        "a word",
        Toy::bert().patch(word, 8, &nan),
        &format!("tensor {word}: finite weights wanted, row 0"),
    );
    refusals.finish();
}

#[test]
fn gpu_configs_that_make_no_sense_are_refused() {
    let Some(mut refusals) = Refusals::new() else { return };
    let toy = Toy::llama();
    load_decoder(&refusals.gpu, &toy.open_folder(&llama_config())).unwrap();
    let yarn = |factor: Value| json!({"rope_type": "yarn", "factor": factor});
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0});
    for (key, value, fragment) in [
        ("model_type", Value::Null, "model_type of config.json is missing"),
        ("model_type", json!(7), "is no text"),
        ("model_type", json!("rwkv"), "architecture rwkv of toy: those that run are llama, qwen2,"),
        ("num_hidden_layers", json!(0), "num_hidden_layers is 0"),
        ("num_hidden_layers", json!(-2), "num_hidden_layers is no whole number"),
        ("num_hidden_layers", json!(2.5), "num_hidden_layers is no whole number"),
        ("num_hidden_layers", json!(u64::MAX), "num_hidden_layers is 18446744073709551615"),
        ("num_hidden_layers", json!(1), "blk.1."),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        ("num_attention_heads", Value::Null, "num_attention_heads is missing"),
        ("num_attention_heads", json!(6), "6 heads do not divide"),
        ("num_key_value_heads", json!(3), "3 kv heads do not divide"),
        ("num_key_value_heads", json!("2"), "num_key_value_heads is no whole number"),
        ("hidden_size", json!(128), "has shape [259, 64]"),
        ("max_position_embeddings", json!(1u64 << 31), "max_position_embeddings is 2147483648"),
        ("rms_norm_eps", json!(0), "rms_norm_eps is 0"),
        ("rope_theta", json!(-1), "rope_theta is -1"),
        ("rope_theta", json!("10000"), "rope_theta is no number"),
        ("rope_parameters", json!({"rope_theta": []}), "rope_theta is no number"),
        ("rope_scaling", json!("linear"), "rope_scaling is no object"),
        ("rope_scaling", json!({"rope_type": 3}), "type of rope_scaling is no text"),
        ("rope_scaling", yarn(json!("4")), "factor of rope_scaling is no number"),
        ("rope_scaling", yarn(json!(-4)), "factor of the rope scaling must be positive, not -4"),
        ("rope_scaling", llama3, "high_freq_factor 1 must be above low_freq_factor 4"),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 1e-308}), "gives no angles"),
        ("hidden_act", json!("relu2"), "activation relu2"),
        ("layer_types", json!(["linear_attention", "full_attention"]), "layers of type linear_attention"),
        ("layer_types", json!(["full_attention"]), "layer_types lists 1 layers, 2 were wanted"),
        ("sliding_window", json!("wide"), "sliding_window is no whole number"),
    ] {
        let mut config = llama_config();
        config[key] = value.clone();
        let outcome = load_decoder(&refusals.gpu, &toy.open_folder(&config));
        refusals.expect(&format!("{key} {value}"), outcome, fragment);
    }
    refusals.expect("no config", load_decoder(&refusals.gpu.clone(), &toy.open_folder(&Value::Null)), "model_type");
    refusals.finish();
}

#[test]
fn gpu_what_a_device_cannot_bind_is_a_limit_that_names_it() {
    let load = |max_binding: u64, context_len: usize| -> Option<Error> {
        let gpu = Rc::new(raw_gpu()?.with_max_binding(max_binding));
        let options = LoadOptions { context_len: Some(context_len), ..LoadOptions::default() };
        Some(block_on(Session::load(&gpu, &Toy::llama().open(), &options, &mut |_| {})).err().unwrap())
    };
    let Some(rows) = load(1024, 8) else { return };
    assert!(matches!(rows, Error::Limit { needed: 8192, available: 1024, .. }), "{rows}");
    assert!(rows.to_string().contains("32 rows of token_embd.weight"), "{rows}");
    // Two heads of 16 halves at each of 64 positions.
    let cache = load(4000, CONTEXT as usize).unwrap();
    assert!(matches!(cache, Error::Limit { needed: 4096, available: 4000, .. }), "{cache}");
    assert!(cache.to_string().contains("a smaller context needs less"), "{cache}");
    let context = load(1 << 30, CONTEXT as usize + 1).unwrap();
    assert!(matches!(context, Error::Limit { needed: 65, available: 64, .. }), "{context}");
    assert!(matches!(load(1 << 30, 0), Some(Error::Invalid { .. })));
}
