//! The command line: what it says, what it refuses, and that it computes what the references say.

use crate::common::gguf_writer::GgufWriter;
use crate::common::shared;
use crate::common::toy::Toy;
use crate::program::{
    folder_with, has_gpu, json, last_error, run, run_with_input, shared_model, stdout, trice as program,
};
use serde_json::{Value, json as value};
use trice::format::DType;

const COMMANDS: [&str; 15] = [
    "chat",
    "classify",
    "embed",
    "tag",
    "answer",
    "rerank",
    "fill",
    "perplexity",
    "inspect",
    "devices",
    "bench",
    "profile",
    "pull",
    "quantize",
    "serve",
];

fn code(args: &[&str]) -> Option<i32> {
    run(args).status.code()
}

#[test]
fn help_lists_every_command_and_teaches() {
    let help = stdout(&run(&["--help"]));
    for command in COMMANDS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not listed");
        let own = run(&[command, "--help"]);
        assert!(own.status.success() && !own.stdout.is_empty(), "{command} --help");
    }
    assert!(help.contains("Examples:"));
}

#[test]
fn bad_usage_exits_with_2() {
    let cases: &[&[&str]] = &[
        &[],
        &["frobnicate"],
        &["chat", "--temp", "20", "-p", "x"],
        &["chat", "--top-p", "0", "-p", "x"],
        &["chat", "-n", "0", "-p", "x"],
        &["chat", "-p", ""],
        &["chat", "-p", "x", "--ids", "1,2"],
        &["chat", "--ids", "1,x"],
        &["chat", "--kv-type", "f64", "-p", "x"],
        &["classify", "good", "--file", "f"],
        &["classify", "good", "--labels", "a,,b"],
        &["classify", "good", "--labels", "a,b", "--template", "no place"],
        &["tag", "no model is named"],
        &["fill", "no model is named"],
        &["tag", "./m", "x", "--aggregation", "most"],
        &["answer", "./m", "--context", "x"],
        &["answer", "./m", "-q", " ", "--context", "x"],
        &["rerank", "a text"],
        &["inspect"],
        &["profile"],
        &["devices", "--measure"],
        &["perplexity", "m.gguf"],
        &["serve", "--host", "0.0.0.0"],
        &["serve", "--port", "65536"],
    ];
    for args in cases {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", last_error(&output));
        assert!(output.stdout.is_empty(), "{args:?} wrote to stdout");
    }
}

#[test]
fn empty_input_is_refused() {
    // A stream may show its first line late, so a model waits for it.
    let streams = [(&["classify"][..], "\n \n"), (&["embed"], "")].into_iter().filter(|_| has_gpu());
    for (args, input) in [(&["chat", "--raw"][..], "\n")].into_iter().chain(streams) {
        let output = run_with_input(args, input);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(last_error(&output).starts_with("error: "), "{args:?}: {}", last_error(&output));
    }
}

#[test]
fn a_wrong_path_names_the_nearest_match() {
    let folder = folder_with(&[("stories-q4.gguf", b"GGUF"), ("other.txt", b"")]);
    let wrong = folder.path().join("storys-q4.gguf").display().to_string();
    let output = run(&["inspect", &wrong]);
    assert_eq!(output.status.code(), Some(1));
    let error = last_error(&output);
    assert!(error.starts_with("error: ") && error.contains("stories-q4.gguf"), "{error}");
}

#[test]
fn a_file_that_is_no_model_is_one_clear_line() {
    let folder = folder_with(&[("page.gguf", b"<!DOCTYPE html><html></html>"), ("cut.gguf", b"GGUF\x03\0\0\0")]);
    for name in ["page.gguf", "cut.gguf"] {
        let path = folder.path().join(name).display().to_string();
        for command in ["inspect", "chat"] {
            let output = run_with_input(&[command, &path], "hello");
            let error = last_error(&output);
            assert_eq!(output.status.code(), Some(1), "{command} {name}: {error}");
            assert!(error.starts_with("error: ") && error.contains(name), "{command} {name}: {error}");
        }
    }
}

/// A header as a real decoder has it, without a tokenizer; the tensors are as few as `inspect` needs.
fn toy_gguf() -> Vec<u8> {
    let rows = |n: u64| DType::Q8_0.row_bytes(64).unwrap() as usize * n as usize;
    GgufWriter::default()
        .string("general.architecture", "llama")
        .uint("llama.block_count", 1)
        .uint("llama.embedding_length", 64)
        .uint("llama.feed_forward_length", 128)
        .uint("llama.attention.head_count", 4)
        .uint("llama.attention.head_count_kv", 2)
        .uint("llama.context_length", 256)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .tensor("token_embd.weight", DType::Q8_0, &[32, 64], &vec![0; rows(32)])
        .tensor("output_norm.weight", DType::F32, &[64], &[0; 256])
        .finish()
}

#[test]
fn inspect_shows_the_header() {
    let folder = folder_with(&[("toy.gguf", &toy_gguf())]);
    let path = folder.path().join("toy.gguf").display().to_string();
    let report = json(&["inspect", &path, "--json"]);
    assert_eq!(report["architecture"], "llama");
    assert_eq!(report["n_params"], 32 * 64 + 64);
    assert_eq!(report["dtypes"]["Q8_0"], value!({"tensors": 1, "params": 2048, "bytes": 2176}));
    assert_eq!(report["tensors"][1]["name"], "token_embd.weight");
    assert_eq!(report["tensors"][1]["shape"], value!([32, 64]));
    assert_eq!(report["metadata"]["llama.context_length"], 256);
    // One layer, two heads of 16, keys and values of 2 bytes each.
    assert_eq!((&report["kv_context_len"], &report["kv_bytes"]), (&value!(256), &value!(256 * 2 * 16 * 2 * 2)));
    let table = stdout(&run(&["inspect", &path]));
    for part in ["llama", "Q8_0", "token_embd.weight", "32 × 64"] {
        assert!(table.contains(part), "{part} is missing:\n{table}");
    }
}

#[test]
fn inspect_names_what_will_be_split() {
    let report = json(&["inspect", "random:1b:F16", "--json"]);
    let split = report["split"].as_object().unwrap();
    assert!(split.contains_key("token_embd.weight"), "{split:?}");
    assert!(!split.contains_key("blk.0.attn_q.weight"), "{split:?}");
}

#[test]
fn inspect_works_on_what_does_not_run() {
    let file =
        GgufWriter::default().string("general.architecture", "mystery").f32_tensor("x", &[2, 2], &[0.0; 4]).finish();
    let folder = folder_with(&[("mystery.gguf", &file)]);
    let report = json(&["inspect", &folder.path().join("mystery.gguf").display().to_string(), "--json"]);
    assert_eq!(report["architecture"], "mystery");
    assert!(report["runs_as"].as_str().unwrap().contains("not supported"), "{}", report["runs_as"]);
}

#[test]
fn devices_are_listed() {
    let report = json(&["devices", "--no-measure", "--json"]);
    let devices = report["devices"].as_array().unwrap();
    assert_eq!(!devices.is_empty(), has_gpu());
    for device in devices {
        assert!(device["name"].is_string() && device["max_binding_bytes"].is_u64(), "{device}");
        assert!(device["roofs"].is_null(), "{device}");
    }
}

#[test]
fn gpu_devices_are_measured() {
    if !has_gpu() {
        return;
    }
    for device in json(&["devices", "--json"])["devices"].as_array().unwrap() {
        let roofs = &device["roofs"];
        for figure in ["read_gbytes_per_s", "f32_gflops", "dot8_gops", "dispatch_us", "read_back_us"] {
            assert!(roofs[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {device}");
        }
        assert_eq!(roofs["f16_gflops"].is_null(), device["f16"] == false, "{device}");
    }
    let text = stdout(&run(&["devices"]));
    for part in ["GB/s", "GFLOP/s", "empty dispatch", "read-back"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn gpu_a_profile_names_the_kernels_and_the_bottleneck() {
    if !has_gpu() {
        return;
    }
    let args = ["profile", "random:15m", "-p", "8", "-n", "8"];
    let report = json(&[&args[..], &["--json"]].concat());
    let names: Vec<_> = report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].clone()).collect();
    assert_eq!(names, ["prefill", "decode"]);
    for phase in report["phases"].as_array().unwrap() {
        assert!(!phase["kernels"].as_array().unwrap().is_empty(), "{phase}");
        assert!(phase["wall_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{phase}");
    }
    let text = stdout(&run(&args));
    for part in ["matmul_qkv [", "matmul [", "attention [", "prefill: ", "decode: ", "% of the time "] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn gpu_a_profile_that_does_not_fit_is_refused() {
    if !has_gpu() {
        return;
    }
    for (args, wanted) in [
        (&["profile", "random:15m", "-b", "2"][..], 2),
        (&["profile", "random:15m", "--ctx", "64", "-p", "65"], 1),
        (&["profile", "random:minilm", "-p", "100000"], 1),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(wanted), "{args:?}: {}", last_error(&output));
        assert!(last_error(&output).starts_with("error: "), "{args:?}: {}", last_error(&output));
    }
}

#[test]
fn gpu_bench_tells_what_a_token_costs() {
    if !has_gpu() {
        return;
    }
    let report = json(&["bench", "random:15m", "-p", "8", "-n", "8", "-r", "1", "--json"]);
    let tests = report["tests"].as_array().unwrap();
    assert_eq!((&tests[0]["name"], &tests[1]["name"]), (&value!("pp8"), &value!("tg8")));
    for test in tests {
        for figure in ["gflops", "gbytes_per_s", "roof_fraction", "flops_per_token", "bytes_per_token"] {
            assert!(test[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {test}");
        }
    }
    // A generated token is a submit, and at most a read-back.
    assert_eq!(tests[1]["submits_per_token"].as_f64(), Some(1.0), "{}", tests[1]);
    assert!(tests[1]["read_backs_per_token"].as_f64().is_some_and(|n| n > 0.0 && n <= 1.0), "{}", tests[1]);
    assert!(tests[1]["dispatches_per_token"].as_u64().is_some_and(|n| n > 0), "{}", tests[1]);
}

#[test]
fn gpu_bench_puts_models_side_by_side() {
    if !has_gpu() {
        return;
    }
    let folder = folder_with(&[("text.txt", b"Once upon a time there was a cat.\n==\nTom had a red ball.")]);
    let text = folder.path().join("text.txt").display().to_string();
    let small = ["-p", "0", "-n", "4", "-r", "1", "--file", &text, "--separator", "=="];
    let models = ["bench", "builtin:stories", "random:15m:Q4_K_M"];
    let output = stdout(&run(&[&models[..], &small, &["--json"]].concat()));
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let perplexity = |line: &Value| line["perplexity"].as_f64().unwrap();
    assert_eq!(lines.len(), 2);
    assert!(perplexity(&lines[0]) < 50.0 && perplexity(&lines[1]) > 1000.0, "{output}");
    assert_eq!(lines[1]["weight_bytes"], 13_923_072);
    let table = stdout(&run(&[&models[..2], &small].concat()));
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("builtin:stories") && last.contains("tg4 "), "{table}");
    assert_eq!(run(&["bench", "builtin:stories", "--separator", "x"]).status.code(), Some(2));
}

#[test]
fn gpu_guessing_ahead_changes_no_answer() {
    if !has_gpu() {
        return;
    }
    let prompt = "Tom had a ball. Tom had a ball. Tom had a";
    let chat = |more: &[&str]| {
        let args = ["chat", "builtin:stories", "--raw", "-p", prompt, "--temp", "0", "-n", "40", "--json"];
        json(&[&args[..], more].concat())
    };
    let plain = chat(&[]);
    let (looked_up, drafted) = (chat(&["--speculate", "lookup"]), chat(&["--draft", "builtin:stories"]));
    assert_eq!((&plain["tokens"], &plain["tokens"]), (&looked_up["tokens"], &drafted["tokens"]));
    let counts = |answer: &Value| {
        let count = |name: &str| answer["timings"][name].as_u64().unwrap();
        (count("drafted_tokens"), count("accepted_tokens"))
    };
    assert_eq!(counts(&plain), (0, 0));
    assert!(counts(&looked_up).0 > 0, "{looked_up}");
    let (all, right) = counts(&drafted);
    assert!(all > 20 && all == right, "{drafted}");
    let args = ["bench", "builtin:stories", "--draft", "builtin:stories", "-p", "0", "-n", "40", "-r", "1"];
    let table = stdout(&run(&args));
    assert!(table.contains("guesses right"), "{table}");
}

#[test]
fn gpu_guesses_that_cannot_be_are_refused() {
    if !has_gpu() {
        return;
    }
    for (args, wanted, words) in [
        (&["chat", "builtin:stories", "-p", "a", "--draft", "random:15m"][..], 2, "cannot draft for"),
        (
            &["chat", "builtin:stories", "-p", "a", "--draft", "random:15m", "--speculate", "lookup"],
            2,
            "cannot be used",
        ),
        (&["chat", "builtin:stories", "-p", "a", "--speculate", "wildly"], 2, "lookup"),
        (&["bench", "builtin:stories", "-b", "2", "--speculate", "lookup"], 1, "several answers at once"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(wanted), "{args:?}: {}", last_error(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn an_unknown_device_is_refused() {
    let output = run(&["chat", "random:15m", "--ids", "1", "--device", "no such device"]);
    assert_eq!(output.status.code(), Some(if has_gpu() { 2 } else { 1 }));
    assert!(last_error(&output).starts_with("error: "), "{}", last_error(&output));
}

#[test]
fn encoders_do_not_chat_and_decoders_do_not_classify() {
    for args in [["chat", "random:minilm", "-p", "x"], ["classify", "random:15m", "x", "-q"]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(last_error(&output).contains("not supported"), "{args:?}: {}", last_error(&output));
    }
}

#[test]
fn pull_has_nothing_to_do_for_random_models() {
    assert_eq!(code(&["pull", "random:15m"]), Some(2));
}

/// A file of the shared folder as JSON.
fn reference(path: &str) -> Option<Value> {
    let path = shared(path)?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

#[test]
fn gpu_chat_reproduces_the_greedy_references() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let reference = reference("models/TinyStories-656K/reference.json").unwrap();
    for case in reference["cases"].as_array().unwrap() {
        let wanted = case["generated_ids"].as_array().unwrap();
        let n = wanted.len().to_string();
        let prompt = case["prompt"].as_str().unwrap();
        let got = json(&["chat", &model, "--raw", "--temp", "0", "--json", "-n", &n, "-p", prompt]);
        assert_eq!(got["prompt_tokens"], case["prompt_ids"], "{prompt}");
        assert_eq!(got["tokens"].as_array().unwrap(), wanted, "{prompt}");
        assert_eq!(got["finish_reason"], "length");
        // The reference decodes the prompt with the answer.
        assert!(
            case["text"].as_str().unwrap().ends_with(got["text"].as_str().unwrap().trim_start()),
            "{}",
            got["text"]
        );
    }
}

#[test]
fn gpu_first_step_logits_follow_the_reference() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let reference = reference("models/TinyStories-656K/reference.json").unwrap();
    for case in reference["cases"].as_array().unwrap() {
        let ids: Vec<String> = case["prompt_ids"].as_array().unwrap().iter().map(Value::to_string).collect();
        let args = ["chat", &model, "--ids", &ids.join(","), "--temp", "0", "-n", "1", "--kv-type", "f32"];
        let got = json(&[&args[..], &["--logprobs", "20", "--json"]].concat());
        let logits = case["first_step_logits_first8"].as_array().unwrap();
        let step = &got["logprobs"][0];
        assert_eq!(step["id"], case["generated_ids"][0]);
        assert_eq!(step["top"].as_array().unwrap().len(), 20);
        // Log-probabilities are logits less a constant, so differences compare with differences.
        let known: Vec<(f64, f64)> = step["top"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|top| {
                let logit = logits.get(top["id"].as_u64().unwrap() as usize)?.as_f64().unwrap();
                Some((logit, top["logprob"].as_f64().unwrap()))
            })
            .collect();
        for pair in known.windows(2) {
            let difference = (pair[0].0 - pair[1].0) - (pair[0].1 - pair[1].1);
            assert!(difference.abs() < 1e-3, "{known:?}");
        }
    }
}

#[test]
fn gpu_chat_streams_the_text_that_json_holds() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let args = ["chat", &model, "--raw", "--temp", "0", "-n", "40"];
    let whole = json(&[&args[..], &["--json", "-p", "Once upon a time"]].concat());
    let streamed = run_with_input(&args, "Once upon a time\n");
    assert!(streamed.status.success());
    assert_eq!(stdout(&streamed), format!("{}\n", whole["text"].as_str().unwrap()));
}

#[test]
fn gpu_the_same_seed_draws_the_same_tokens() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let draw = |seed: &str| {
        let args = ["chat", &model, "--raw", "-p", "The", "--temp", "1.2", "-n", "24", "--json", "--seed", seed];
        json(&args)["tokens"].clone()
    };
    assert_eq!(draw("7"), draw("7"));
    assert_ne!(draw("7"), draw("8"));
}

#[test]
fn gpu_a_stop_text_ends_the_answer() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let args = ["chat", &model, "--raw", "-p", "Once upon a time", "--temp", "0", "-n", "60", "--json"];
    let text = json(&args)["text"].as_str().unwrap().to_string();
    let stop = text.split_whitespace().nth(5).unwrap();
    let stopped = json(&[&args[..], &["--stop", stop]].concat());
    assert_eq!(stopped["finish_reason"], "stop");
    assert_eq!(stopped["text"].as_str().unwrap(), text.split(stop).next().unwrap());
}

#[test]
fn gpu_a_prompt_longer_than_the_context_is_refused() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let output = run(&["chat", &model, "--raw", "--ctx", "8", "-p", "Once upon a time there was a little girl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_error(&output).contains('8'), "{}", last_error(&output));
}

#[test]
fn gpu_a_text_longer_than_the_context_loses_what_is_said() {
    if !has_gpu() {
        return;
    }
    let ids: Vec<u32> = (1..=40).collect();
    let list = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let args = ["chat", "random:15m", "--ctx", "32", "--temp", "0", "--json", "--ids", &list, "-n"];
    let output = run(&[&args[..], &["4", "--overflow", "truncate-middle"]].concat());
    let cut: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(cut["prompt_tokens"], value!([&ids[..8], &ids[20..]].concat()));
    assert_eq!((&cut["dropped_tokens"], cut["tokens"].as_array().unwrap().len()), (&value!(12), 4));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("12 tokens were left out"), "{said}");
    let shifted = json(&[&args[..], &["50", "--overflow", "shift"]].concat());
    assert_eq!(shifted["tokens"].as_array().unwrap().len(), 50);
    assert_eq!(shifted["dropped_tokens"], 60, "five blocks of half of what is not kept");
    assert_eq!(code(&[&args[..], &["4", "--overflow", "error"]].concat()), Some(1));
    assert_eq!(code(&[&args[..], &["4", "--overflow", "wrap"]].concat()), Some(2));
}

#[cfg(unix)]
#[test]
fn gpu_ctrl_c_stops_the_answer() {
    use std::io::Read as _;
    if !has_gpu() {
        return;
    }
    // Random weights do not end by themselves.
    let mut child = program(&["chat", "random:15m", "--ids", "1", "--temp", "2", "--top-k", "0"]).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    crate::program::signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", last_error(&output));
    assert_eq!(last_error(&output), "interrupted");
}

#[test]
fn gpu_a_closed_pipe_is_no_failure() {
    if !has_gpu() {
        return;
    }
    let mut child = program(&["chat", "random:15m", "--ids", "1", "--temp", "2", "--top-k", "0"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", last_error(&output));
}

#[test]
fn gpu_perplexity_equals_the_reference() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let Some(file) = shared("data/tinystories/tinystories_train_head_2MiB.txt") else { return };
    let wanted = reference("models/TinyStories-656K/reference.json").unwrap()["tinystories_first60"].clone();
    let file = file.display().to_string();
    let args = ["perplexity", &model, "--file", &file, "--separator", "<|endoftext|>", "--max-docs", "60"];
    let got = json(&[&args[..], &["--ctx", "512", "--json"]].concat());
    assert_eq!(got["tokens"], wanted["tokens"]);
    let (got, wanted) = (got["perplexity"].as_f64().unwrap(), wanted["ppl"].as_f64().unwrap());
    assert!((got / wanted - 1.0).abs() < 1e-3, "{got}, not {wanted}");
}

/// Transformers 4.57's Llama on the same windows, its log-probabilities added up in 64-bit floats.
#[test]
fn gpu_strided_perplexity_equals_the_reference() {
    let Some(model) = shared_model("models/TinyStories-656K") else { return };
    let Some(file) = shared("data/tinystories/tinystories_train_head_2MiB.txt") else { return };
    let file = file.display().to_string();
    let args = ["perplexity", &model, "--file", &file, "--separator", "<|endoftext|>", "--max-docs", "4", "--json"];
    for (ctx, stride, wanted) in [("64", "32", 23.354757711), ("64", "48", 25.686922338), ("128", "16", 19.050671090)] {
        let got = json(&[&args[..], &["--ctx", ctx, "--stride", stride]].concat());
        assert_eq!(got["tokens"], 684);
        let got = got["perplexity"].as_f64().unwrap();
        assert!((got / wanted - 1.0).abs() < 1e-3, "{got}, not {wanted}");
    }
    let wide = run(&[&args[..], &["--ctx", "64", "--stride", "64"]].concat());
    assert!(wide.status.code() == Some(2) && last_error(&wide).contains("--stride 64"), "{}", last_error(&wide));
}

#[test]
fn gpu_a_model_calls_what_it_is_offered() {
    let template =
        "{% for m in messages %}{{ m.content }}{% endfor %}{% for t in tools or [] %}{{ t.function.name }}{% endfor %}";
    let script = [("<tool_call>", 4), ("{\"name\":\"now\",\"arguments\":{\"of\":1}}", 4), ("</tool_call>", 4)];
    let toy = |template: &str| Toy::parrot(&script).text("tokenizer.chat_template", template).gguf();
    let [tools, odd] = [r#"[{"type":"function","function":{"name":"now"}}]"#, r#"[{"type":"function"}]"#];
    let folder = folder_with(&[
        ("takes.gguf", &toy(template)),
        ("knows-none.gguf", &toy("{{ messages[0].content }}")),
        ("tools.json", tools.as_bytes()),
        ("odd.json", odd.as_bytes()),
    ]);
    if !has_gpu() {
        return;
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ask = |model: &str, tools: &str| {
        run(&["chat", &path(model), "-p", "hi", "--temp", "0", "--json", "--tools", &path(tools)])
    };
    let called: Value = serde_json::from_str(&stdout(&ask("takes.gguf", "tools.json"))).unwrap();
    assert_eq!(called["tool_calls"], value!([{"name": "now", "arguments": "{\"of\":1}"}]));
    assert_eq!(called["text"], "<tool_call>{\"name\":\"now\",\"arguments\":{\"of\":1}}</tool_call>");
    for (model, tools, words) in [
        ("takes.gguf", "odd.json", "tools [0]: a tool's function.name"),
        ("knows-none.gguf", "tools.json", "knows no tools"),
    ] {
        let error = last_error(&ask(model, tools));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn gpu_embeddings_equal_the_reference() {
    let Some(model) = shared_model("models/all-MiniLM-L6-v2") else { return };
    let reference = reference("models/all-MiniLM-L6-v2/reference.json").unwrap();
    let sentences = reference["sentences"].as_array().unwrap();
    let mut args = vec!["embed", model.as_str(), "--json", "--normalize"];
    args.extend(sentences.iter().map(|sentence| sentence["text"].as_str().unwrap()));
    let output = run(&args);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), sentences.len(), "{}", last_error(&output));
    for (i, (line, sentence)) in lines.iter().zip(sentences).enumerate() {
        assert_eq!(line["index"], i);
        let cosine = cosine(&floats(&line["embedding"]), &floats(&sentence["embedding"]));
        assert!(cosine >= 0.99999, "sentence {i}: cosine {cosine}");
    }
}

fn floats(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert_eq!(a.len(), b.len());
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn gpu_classify_by_a_models_own_head() {
    let Some(model) = shared_model("models/minilm-sst2") else { return };
    let texts = "a gorgeous , witty , seductive movie .\n\nan utterly boring mess .\n";
    let output = run_with_input(&["classify", &model, "--json"], texts);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{}", last_error(&output));
    let best = |line: &Value| line["labels"][0]["label"].as_str().unwrap().to_lowercase();
    assert_eq!((best(&lines[0]), best(&lines[1])), ("positive".to_string(), "negative".to_string()));
    for line in &lines {
        let sum: f64 = line["labels"].as_array().unwrap().iter().map(|label| label["score"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4, "scores sum to {sum}");
    }
}

#[test]
fn gpu_classify_by_a_head_on_embeddings_and_by_own_labels() {
    let Some(model) = shared_model("models/all-MiniLM-L6-v2") else { return };
    let Some(head) = shared("models/minilm-heads/trec6.safetensors") else { return };
    let head = head.display().to_string();
    let question = "where is the eiffel tower ?";
    let got = json(&["classify", &model, question, "--head", &head, "--top", "1", "--json"]);
    assert_eq!(got["labels"].as_array().unwrap().len(), 1);
    let own = json(&["classify", &model, "They won the cup final", "--labels", "sports, politics", "--json"]);
    assert_eq!(own["labels"][0]["label"], "sports");
    assert_eq!(own["labels"].as_array().unwrap().len(), 2);
}

#[test]
fn gpu_the_built_in_models_need_no_argument() {
    if !has_gpu() {
        return;
    }
    let story = json(&["chat", "-p", "Once upon a time", "--temp", "0", "-n", "16", "--json"]);
    assert_eq!(story["tokens"].as_array().unwrap().len(), 16);
    let label = json(&["classify", "I loved this wonderful film", "--json"]);
    assert_eq!(label["labels"][0]["label"].as_str().unwrap().to_lowercase(), "positive");
    let own = json(&["classify", "They won the cup final", "--labels", "sports, politics", "--json"]);
    assert_eq!(own["labels"][0]["label"], "sports");
    let intent = json(&["classify", "builtin:intent", "please set an alarm for six", "--top", "1", "--json"]);
    assert_eq!(intent["labels"][0]["label"], "alarm");
    let texts = ["warm woollen socks", "low fares to Rome", "the theory of knots"];
    let ranked = json_lines(&run(&[&["rerank", "-q", "cheap flights", "--json"], &texts[..]].concat()));
    assert_eq!(ranked[0]["index"], 1);
    let embedded = json(&["embed", "a text", "--normalize", "--json"]);
    let length: f64 = embedded["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
}

/// The results of a command, one object per line.
fn json_lines(output: &std::process::Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn gpu_tag_prints_entities_with_places() {
    let Some(model) = shared_model("models/minilm-wnut17") else { return };
    let text = "😀 I love Redondo Beach in California";
    let lines = json_lines(&run(&["tag", &model, text, "nothing here", "--json"]));
    assert_eq!((&lines[0]["index"], &lines[1]["index"]), (&value!(0), &value!(1)));
    let found: Vec<String> = lines[0]["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entity| {
            let place = |key: &str| entity[key].as_u64().unwrap() as usize;
            let piece: String = text.chars().skip(place("start")).take(place("end") - place("start")).collect();
            format!("{} {piece}", entity["entity_group"].as_str().unwrap())
        })
        .collect();
    assert_eq!(found, ["location Redondo Beach", "location California"]);
    assert_eq!(lines[1], value!({"index": 1, "entities": []}));
    let shown = stdout(&run(&["tag", &model, text, "--aggregation", "none"]));
    assert!(shown.contains("B-location  Red  (9..12)"), "{shown}");
}

#[test]
fn gpu_explanations_are_what_words_add() {
    if !has_gpu() {
        return;
    }
    let texts = ["The food was terrible!", "The food was !", "terrible"];
    let lines = json_lines(&run(&[&["classify", "--json", "--explain=NEGATIVE"], &texts[..]].concat()));
    let score = |line: &Value| {
        let labels = line["labels"].as_array().unwrap();
        labels.iter().find(|label| label["label"] == "NEGATIVE").unwrap()["score"].as_f64().unwrap()
    };
    let word = |line: &Value, i: usize| line["explanation"]["words"][i]["score"].as_f64().unwrap();
    let words = lines[0]["explanation"]["words"].as_array().unwrap();
    let strongest = (0..words.len()).max_by(|a, b| word(&lines[0], *a).total_cmp(&word(&lines[0], *b))).unwrap();
    assert_eq!(
        (&words[strongest]["word"], &words[strongest]["start"], &words[strongest]["end"]),
        (&value!("terrible"), &value!(13), &value!(21))
    );
    // A text of one word is that word: what it adds is its score above that of no text.
    let added = ((score(&lines[0]) - score(&lines[1])) + word(&lines[2], 0)) / 2.0;
    assert!((word(&lines[0], strongest) - added).abs() < 1e-6, "{}, {added} was added", lines[0]);

    let shown = stdout(&run(&["classify", "--explain", texts[0]]));
    let first = shown.lines().skip_while(|line| !line.contains("what words add")).nth(1).unwrap();
    assert!(first.starts_with("  +") && first.ends_with("  terrible"), "{shown}");
    let none = run(&["classify", "--explain=MAYBE", texts[0]]);
    assert_eq!(none.status.code(), Some(2), "{}", last_error(&none));
    assert!(last_error(&none).contains("the labels are"), "{}", last_error(&none));
}

#[test]
fn gpu_rerank_puts_the_nearest_text_first() {
    let Some(model) = shared_model("models/all-MiniLM-L6-v2") else { return };
    let texts = ["warm woollen socks", "low fares to Rome", "the theory of knots"];
    let output = run(&[&["rerank", &model, "-q", "cheap flights", "--json"], &texts[..]].concat());
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["index"], 1);
    let quiet = run(&["rerank", &model, "-q", "cheap flights", "龘龘龘", "--quiet"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "{}", String::from_utf8_lossy(&quiet.stderr));
    let scores: Vec<f64> = lines.iter().map(|line| line["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

#[test]
fn gpu_texts_of_unknown_tokens_are_warned_of() {
    let Some(model) = shared_model("models/minilm-sst2") else { return };
    // Characters that an English vocabulary lacks.
    let output = run(&["classify", &model, "a fine film", "龘龘靐靐 film", "--json"]);
    let lines = json_lines(&output);
    assert!(lines[0].get("unknown_share").is_none(), "{}", lines[0]);
    assert!((lines[1]["unknown_share"].as_f64().unwrap() - 0.8).abs() < 1e-6, "{}", lines[1]);
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warning.contains("warning: 1 of 2 texts") && warning.contains("80 % of text 2"), "{warning}");
    let quiet = run(&["classify", &model, "龘龘靐靐 film", "-q"]);
    assert!(quiet.stderr.is_empty(), "{}", String::from_utf8_lossy(&quiet.stderr));
}

#[test]
fn gpu_a_model_without_the_head_says_what_it_lacks() {
    let Some(model) = shared_model("models/minilm-sst2") else { return };
    for (args, lacks) in [
        (&["tag", &model, "a text"][..], "no head of tokens"),
        (&["fill", &model, "a [MASK]"], "no head of hidden tokens"),
        (&["answer", &model, "-q", "who?", "--context", "nobody"], "no head of answers"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(last_error(&output).contains(lacks), "{args:?}: {}", last_error(&output));
    }
}
