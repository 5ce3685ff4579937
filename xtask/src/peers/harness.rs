//! How each program is started, and how its figures are read.

use super::contest::{Counts, Model, Subject, Test};
use super::workshop::Workshop;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Timed runs of one launch, after one that is not: on an adapter one, since the launch is repeated; on the CPU three,
/// since a fresh process is still being compiled and three cost little there.
const GPU_REPS: usize = 1;
const CPU_REPS: usize = 3;

/// The command that measures `subject`, or what is missing for it.
pub(super) fn command(
    subject: &Subject,
    model: &Model,
    counts: Counts,
    workshop: &mut Workshop,
) -> Result<Command, String> {
    let Counts { prompt, generate, batch } = counts;
    let is_encoder = generate == 0;
    let command = match subject {
        Subject::Trice(driver) => {
            let mut command = Command::new(workshop.trice());
            let (option, n) = if is_encoder { ("-b", batch) } else { ("-n", generate) };
            command.arg("bench").arg(workshop.model(model)?).args(["--json", "-p", &prompt.to_string()]);
            command.args([option, &n.to_string(), "-r", &GPU_REPS.to_string()]);
            driver.apply(&mut command);
            command
        }
        Subject::TricePage(browser) => {
            let mut command = node(&workshop.page_bench()?);
            let n = if is_encoder { format!("batch={batch}") } else { format!("tg={generate}") };
            command.arg(workshop.model(model)?).args([format!("pp={prompt}"), n, format!("reps={GPU_REPS}")]);
            command.env("TRICE_CHROMIUM", workshop.browser(*browser)?).env("TRICE_SITE", workshop.site()?);
            command
        }
        Subject::LlamaVulkan(driver) => {
            let mut command = llama(workshop, model, counts)?;
            command.args(["gpu=vulkan", &format!("reps={GPU_REPS}")]);
            driver.apply(&mut command);
            // Without it, ggml passes over Vulkan devices that are a CPU.
            command.env("GGML_VK_VISIBLE_DEVICES", "0");
            command
        }
        Subject::LlamaCpu => {
            let mut command = llama(workshop, model, counts)?;
            command.args(["gpu=false", &format!("reps={CPU_REPS}")]);
            command
        }
        Subject::WllamaWebGpu(browser) => {
            let mut command = wllama(workshop, model, counts)?;
            // Its log says whether it really took the GPU.
            command.args(["mode=webgpu", "verbose=1", &format!("reps={GPU_REPS}")]);
            command.env("CHROME", workshop.browser(*browser)?);
            command
        }
        Subject::WllamaWasm => {
            let mut command = wllama(workshop, model, counts)?;
            command.args(["mode=cpu-st", &format!("reps={CPU_REPS}")]).env("CHROME", workshop.chromium()?);
            command
        }
        Subject::TransformersWebGpu(browser) => {
            let mut command = transformers(workshop, model, counts)?;
            command.args(["device=webgpu", &format!("reps={GPU_REPS}")]).env("CHROME", workshop.browser(*browser)?);
            command
        }
        Subject::TransformersWasm => {
            let mut command = transformers(workshop, model, counts)?;
            command.args(["device=wasm", "threads=1", &format!("reps={CPU_REPS}")]);
            command.env("CHROME", workshop.chromium()?);
            command
        }
    };
    Ok(command)
}

fn node(script: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(script);
    command
}

fn llama(workshop: &mut Workshop, model: &Model, counts: Counts) -> Result<Command, String> {
    let mut command = node(&workshop.native_harness()?);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    command.arg(workshop.model(model)?).args(lengths(counts)).arg(format!("threads={threads}"));
    Ok(command)
}

fn wllama(workshop: &mut Workshop, model: &Model, counts: Counts) -> Result<Command, String> {
    let mut command = node(&workshop.browser_harness()?);
    command.arg("wllama").arg(workshop.model(model)?).args(lengths(counts));
    Ok(command)
}

fn transformers(workshop: &mut Workshop, model: &Model, counts: Counts) -> Result<Command, String> {
    let mut command = node(&workshop.browser_harness()?);
    if counts.generate > 0 {
        command.arg("tjs-gen").arg(workshop.onnx(model)?).args(lengths(counts)).arg("dtype=q4");
    } else {
        command.arg("tjs-embed").arg(workshop.onnx(model)?);
        // With fused attention and norms: the fastest of its files that computes the same.
        command.args(["dtype=fp32", "file=model_opt"]);
        command.args([format!("seq={}", counts.prompt), format!("batches={}", counts.batch)]);
    }
    Ok(command)
}

fn lengths(counts: Counts) -> [String; 2] {
    [format!("pp={}", counts.prompt), format!("tg={}", counts.generate)]
}

/// Runs `command` and takes the JSON line that it prints, or the reason why there is none.
pub(super) fn launch(command: &mut Command) -> Result<Value, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    result_line(&String::from_utf8_lossy(&output.stdout), &String::from_utf8_lossy(&output.stderr))
}

fn result_line(stdout: &str, stderr: &str) -> Result<Value, String> {
    let objects = stdout.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let first_of = |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty()).map(String::from);
    match objects.into_iter().find(Value::is_object) {
        Some(line) => match line["error"].as_str() {
            Some(error) => Err(first_of(error).unwrap_or_else(|| "an error without words".into())),
            None => Ok(line),
        },
        None => Err(first_of(stderr).unwrap_or_else(|| "it ended without a result".into())),
    }
}

/// Tokens per second of every test, from the line that a launch printed.
pub(super) fn rates(subject: &Subject, counts: Counts, line: &Value) -> Result<Vec<(Test, f64)>, String> {
    if matches!(subject, Subject::WllamaWebGpu(_)) && !is_offloaded(line) {
        return Err("no 16-bit floats in shaders: it computes on the CPU instead, without a word".into());
    }
    let rate = |test: Test| rate(subject, counts, test, line).filter(|rate| rate.is_finite() && *rate > 0.0);
    let missing = |test: Test| format!("no figure for {} in {line}", counts.name(test));
    counts.tests().iter().map(|&test| Ok((test, rate(test).ok_or_else(|| missing(test))?))).collect()
}

fn rate(subject: &Subject, counts: Counts, test: Test, line: &Value) -> Option<f64> {
    let kind = if test == Test::Prompt { "pp" } else { "tg" };
    match subject {
        Subject::Trice(_) | Subject::TricePage(_) => {
            let mut tests = line["tests"].as_array()?.iter();
            let found = tests.find(|test| test["name"].as_str().is_some_and(|name| name.starts_with(kind)))?;
            found["tokens_per_s"]["median"].as_f64()
        }
        Subject::TransformersWebGpu(_) | Subject::TransformersWasm if counts.generate == 0 => {
            let ms = line["B"][counts.batch.to_string()]["ms"].as_f64()?;
            Some((counts.prompt * counts.batch) as f64 / ms * 1e3)
        }
        _ => line[format!("{kind}_tok_s")].as_f64(),
    }
}

/// Whether wllama's log says `offloaded 7/7 layers`: on an adapter that it cannot use it falls back silently.
fn is_offloaded(line: &Value) -> bool {
    let log = line["gpulog"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut counts = log.filter_map(|line| line.split_once("offloaded ")?.1.split_whitespace().next()?.split_once('/'));
    counts.next_back().is_some_and(|(n, of)| n == of)
}

#[cfg(test)]
mod harness_tests {
    use super::*;
    use crate::peers::contest::Browser;
    use serde_json::json;

    const LLAMA: Counts = Counts { prompt: 64, generate: 16, batch: 1 };

    #[test]
    fn reads_the_line_of_every_harness() {
        let page = Subject::TricePage(Browser::Stock);
        let line = json!({ "tests": [{ "name": "pp64", "tokens_per_s": { "median": 120.5 } },
                                     { "name": "tg16", "tokens_per_s": { "median": 12.0 } }] });
        assert_eq!(rates(&page, LLAMA, &line).unwrap(), [(Test::Prompt, 120.5), (Test::Generate, 12.0)]);

        let line = json!({ "pp_tok_s": 44, "tg_tok_s": 9.7 });
        assert_eq!(rates(&Subject::LlamaCpu, LLAMA, &line).unwrap(), [(Test::Prompt, 44.0), (Test::Generate, 9.7)]);

        let counts = Counts { prompt: 128, generate: 0, batch: 8 };
        let line = json!({ "B": { "8": { "ms": 1024.0 } } });
        assert_eq!(rates(&Subject::TransformersWasm, counts, &line).unwrap(), [(Test::Prompt, 1000.0)]);
    }

    #[test]
    fn a_missing_or_empty_figure_is_never_a_zero() {
        for line in [json!({}), json!({ "pp_tok_s": 44, "tg_tok_s": 0 }), json!({ "pp_tok_s": 44, "tg_tok_s": null })] {
            assert!(rates(&Subject::LlamaCpu, LLAMA, &line).is_err(), "{line}");
        }
    }

    #[test]
    fn wllama_counts_only_with_all_layers_on_the_gpu() {
        let subject = Subject::WllamaWebGpu(Browser::Lavapipe);
        let line = |log: &str| json!({ "pp_tok_s": 1, "tg_tok_s": 1, "gpulog": ["n_batch = 1024", log] });
        assert!(rates(&subject, LLAMA, &line("load_tensors: offloaded 7/7 layers to GPU")).is_ok());
        assert!(rates(&subject, LLAMA, &line("load_tensors: offloaded 0/7 layers to GPU")).is_err());
        assert!(rates(&subject, LLAMA, &line("no WebGPU")).is_err());
    }

    #[test]
    fn takes_the_last_object_or_the_first_complaint() {
        assert_eq!(result_line("loading\n{\"a\": 1}\n", "warning").unwrap(), json!({ "a": 1 }));
        assert_eq!(result_line("{\"error\": \"no f16\\n at x\"}", ""), Err("no f16".into()));
        assert_eq!(result_line("", "\nno 16-bit storage\nmore\n"), Err("no 16-bit storage".into()));
        assert!(result_line("", "").is_err());
    }
}
