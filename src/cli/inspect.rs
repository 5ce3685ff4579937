//! `trice inspect`: what is in a model file and what it needs. Reads the header only; no GPU.

use super::args::ModelArg;
use super::context::{Context, Output, human_bytes};
use super::model;
use super::progress::Bar;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use trice::format::{Checkpoint, Config, TensorInfo, Value};
use trice::kernels::attention::KvType;
use trice::model::cache::planned_bytes;
use trice::model::config::{self, DecoderConfig, Kind};

/// The largest storage binding that every WebGPU device has; a larger tensor is split by rows.
const BINDING_BYTES: u64 = 128 << 20;
/// Tokens of context that are reserved when nobody asks for more.
const DEFAULT_CONTEXT: u64 = 4096;
/// Characters of a metadata text that the table shows.
const SHOWN_CHARS: usize = 60;

/// What `inspect --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    format: &'static str,
    architecture: String,
    /// `decoder`, `encoder`, or why it does not run.
    runs_as: String,
    n_params: u64,
    weight_bytes: u64,
    /// At `kv_context_len` tokens, in f16; none for encoders and where the header does not tell.
    kv_bytes: Option<u64>,
    kv_context_len: Option<u64>,
    n_tensors: usize,
    dtypes: BTreeMap<&'static str, DTypeCount>,
    /// Tensors above 128 MiB, and in how many parts they are bound.
    split: BTreeMap<&'a str, u64>,
    metadata: Map<String, Json>,
    tensors: Vec<TensorRow<'a>>,
}

#[derive(Default, Serialize)]
struct DTypeCount {
    tensors: u64,
    params: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct TensorRow<'a> {
    name: &'a str,
    dtype: &'static str,
    /// Row-major, outermost first.
    shape: &'a [u64],
    n_bytes: u64,
}

pub(crate) fn run(context: &Context, args: &ModelArg) -> anyhow::Result<()> {
    let bar = Bar::new(context);
    let mut show = |progress| bar.download(&progress);
    let checkpoint = pollster::block_on(model::open_checkpoint(&args.model, &mut show))?;
    bar.clear();
    let report = Report::of(&checkpoint);
    match context.output {
        Output::Json => context.print_json(&report),
        Output::Text => print(context, &report),
    }
}

impl<'a> Report<'a> {
    fn of(checkpoint: &'a Checkpoint) -> Self {
        let tensors: Vec<&TensorInfo> = checkpoint.tensors().collect();
        let kind = config::kind(checkpoint);
        let kv = matches!(kind, Ok(Kind::Decoder)).then(|| KvCache::of(checkpoint)).flatten();
        Self {
            model: checkpoint.name(),
            format: match checkpoint.config() {
                Config::Gguf(_) => "GGUF",
                Config::HuggingFace(_) => "safetensors",
            },
            architecture: architecture(checkpoint),
            n_params: checkpoint.n_params(),
            weight_bytes: checkpoint.weight_bytes(),
            runs_as: match kind {
                Ok(Kind::Decoder) => "decoder".to_string(),
                Ok(Kind::Encoder) => "encoder".to_string(),
                Err(error) => error.to_string(),
            },
            kv_bytes: kv.as_ref().map(|kv| kv.bytes),
            kv_context_len: kv.as_ref().map(|kv| kv.context_len),
            n_tensors: tensors.len(),
            dtypes: count_dtypes(&tensors),
            split: split_parts(&tensors),
            metadata: metadata(checkpoint),
            tensors: tensors.iter().map(|tensor| TensorRow::of(tensor)).collect(),
        }
    }
}

impl<'a> TensorRow<'a> {
    fn of(tensor: &'a TensorInfo) -> Self {
        Self { name: &tensor.name, dtype: tensor.dtype.name(), shape: &tensor.shape, n_bytes: tensor.n_bytes }
    }
}

fn count_dtypes(tensors: &[&TensorInfo]) -> BTreeMap<&'static str, DTypeCount> {
    let mut counts: BTreeMap<&'static str, DTypeCount> = BTreeMap::new();
    for tensor in tensors {
        let count = counts.entry(tensor.dtype.name()).or_default();
        count.tensors += 1;
        count.params += tensor.shape.iter().product::<u64>();
        count.bytes += tensor.n_bytes;
    }
    counts
}

fn split_parts<'a>(tensors: &[&'a TensorInfo]) -> BTreeMap<&'a str, u64> {
    let too_large = tensors.iter().filter(|tensor| tensor.n_bytes > BINDING_BYTES);
    too_large.map(|tensor| (tensor.name.as_str(), tensor.n_bytes.div_ceil(BINDING_BYTES))).collect()
}

/// The KV cache that a decoder gets by default.
struct KvCache {
    context_len: u64,
    bytes: u64,
}

impl KvCache {
    /// None for encoders, and for headers that do not tell.
    fn of(checkpoint: &Checkpoint) -> Option<Self> {
        let config = DecoderConfig::new(checkpoint).ok()?;
        let context_len = u64::from(config.shape.context_len).min(DEFAULT_CONTEXT);
        Some(Self { context_len, bytes: planned_bytes(&config, context_len as u32, KvType::F16) })
    }
}

/// The architecture's name as the file gives it; empty when it gives none.
fn architecture(checkpoint: &Checkpoint) -> String {
    match checkpoint.config() {
        Config::Gguf(metadata) => metadata.string("general.architecture").unwrap_or_default().to_string(),
        Config::HuggingFace(config) => config["model_type"].as_str().unwrap_or_default().to_string(),
    }
}

/// The header's values by key; long lists as their length.
fn metadata(checkpoint: &Checkpoint) -> Map<String, Json> {
    match checkpoint.config() {
        Config::Gguf(metadata) => {
            let sorted: BTreeMap<_, _> = metadata.0.iter().collect();
            sorted.into_iter().map(|(key, value)| (key.clone(), metadata_json(value))).collect()
        }
        Config::HuggingFace(Json::Object(config)) => config.clone(),
        Config::HuggingFace(_) => Map::new(),
    }
}

fn metadata_json(value: &Value) -> Json {
    let list = |n: usize, of: &str| Json::from(format!("[{n} {of}]"));
    match value {
        Value::U64(value) => Json::from(*value),
        Value::I64(value) => Json::from(*value),
        Value::F64(value) => Json::from(*value),
        Value::Bool(value) => Json::from(*value),
        Value::String(value) => Json::from(value.as_str()),
        Value::Ints(values) => list(values.len(), "integers"),
        Value::Floats(values) => list(values.len(), "floats"),
        Value::Bools(values) => list(values.len(), "truth values"),
        Value::Strings(values) => list(values.len(), "texts"),
    }
}

fn print(context: &Context, report: &Report<'_>) -> anyhow::Result<()> {
    let architecture = if report.architecture.is_empty() { "(none given)" } else { &report.architecture };
    context.print(&format!("model         {}", report.model))?;
    context.print(&format!("format        {}", report.format))?;
    context.print(&format!("architecture  {architecture}"))?;
    context.print(&format!("runs as       {}", report.runs_as))?;
    context.print(&format!("parameters    {}", report.n_params))?;
    context.print("\nmemory")?;
    context.print(&format!("  weights     {}", human_bytes(report.weight_bytes)))?;
    if let (Some(bytes), Some(context_len)) = (report.kv_bytes, report.kv_context_len) {
        context.print(&format!("  KV cache    {} at {context_len} tokens (f16)", human_bytes(bytes)))?;
    }
    for (name, parts) in &report.split {
        context.print(&format!("  split       {name} in {parts} parts where bindings end at 128 MiB"))?;
    }
    context.print("\ntensor types")?;
    for (name, count) in &report.dtypes {
        let bits = 8.0 * count.bytes as f64 / count.params.max(1) as f64;
        let DTypeCount { tensors, params, bytes } = count;
        let bytes = human_bytes(*bytes);
        context
            .print(&format!("  {name:5} {tensors:5} tensors {params:12} weights {bytes:>12} {bits:6.2} bits/weight"))?;
    }
    context.print("\nmetadata")?;
    for (key, value) in &report.metadata {
        context.print(&format!("  {key} = {}", shortened(value)))?;
    }
    print_tensors(context, &report.tensors)
}

fn print_tensors(context: &Context, tensors: &[TensorRow<'_>]) -> anyhow::Result<()> {
    context.print(&format!("\n{} tensors", tensors.len()))?;
    let width = tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    for TensorRow { name, dtype, shape, n_bytes } in tensors {
        let shape = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ");
        context.print(&format!("  {name:width$}  {dtype:5} {:>12}  {shape}", human_bytes(*n_bytes)))?;
    }
    Ok(())
}

/// One line of at most `SHOWN_CHARS` characters.
fn shortened(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trice::format::DType;

    fn tensor(name: &str, dtype: DType, shape: [u64; 2]) -> TensorInfo {
        use trice::format::view::View;
        let n_bytes = shape[0] * dtype.row_bytes(shape[1]).unwrap();
        TensorInfo {
            name: name.to_string(),
            dtype,
            shape: shape.to_vec(),
            file: 0,
            offset: 0,
            n_bytes,
            view: View::AsFiled,
        }
    }

    #[test]
    fn tensors_above_the_binding_limit_are_split() {
        let at_limit = tensor("a", DType::F32, [1 << 15, 1 << 10]);
        let above = tensor("b", DType::F32, [(1 << 15) + 1, 1 << 10]);
        assert_eq!(at_limit.n_bytes, BINDING_BYTES);
        assert_eq!(split_parts(&[&at_limit, &above]), BTreeMap::from([("b", 2)]));
    }

    #[test]
    fn types_are_counted() {
        let (a, b) = (tensor("a", DType::Q4_0, [4, 64]), tensor("b", DType::Q4_0, [2, 32]));
        let counts = count_dtypes(&[&a, &b]);
        assert_eq!((counts["Q4_0"].tensors, counts["Q4_0"].params, counts["Q4_0"].bytes), (2, 320, 180));
    }
}
