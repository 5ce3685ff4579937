//! The tiny models of tests/golden: weights that are a hash of (salt, tensor name, index), made here as in `hashed.py`, and the
//! same model as a folder and as a GGUF.

use super::gguf_writer::GgufWriter;
use super::gpu::{block_on, open_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use trice::format::Checkpoint;
use trice::hub::ModelFiles;
use trice::source::{MemorySource, Source};

/// A tensor with its weights, outermost dimension first.
#[derive(Clone)]
struct Tensor {
    shape: Vec<usize>,
    weights: Vec<f32>,
}

/// A case of a file of goldens.
pub struct Golden(pub Value);

/// The cases of a file.
pub fn read_goldens(json: &str) -> Vec<Golden> {
    serde_json::from_str::<Vec<Value>>(json).unwrap().into_iter().map(Golden).collect()
}

/// Token ids.
pub fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// `n_rows` of packed f32.
pub fn unpack(value: &Value, n_rows: usize) -> Vec<Vec<f64>> {
    let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
    assert_eq!(values.len() % n_rows, 0);
    values.chunks(values.len() / n_rows).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect()
}

impl Golden {
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    /// The architecture as its config names it, with underscores.
    pub fn family(&self) -> String {
        self.0["config"]["model_type"].as_str().unwrap().replace('-', "_")
    }

    /// `config.json` and `model.safetensors`.
    pub fn folder(&self) -> Checkpoint {
        self.folder_beside(&[])
    }

    /// The same with more files beside them.
    pub fn folder_beside(&self, files: &[(&str, String)]) -> Checkpoint {
        block_on(Checkpoint::open(self.files_beside(files))).unwrap()
    }

    /// Those files on disk.
    pub fn write_beside(&self, files: &[(&str, String)], folder: &Path) {
        let ModelFiles { weights, side, .. } = self.files_beside(files);
        for file in weights.iter().chain(side.values()) {
            let bytes = block_on(file.read(0, file.len() as usize)).unwrap();
            std::fs::write(folder.join(file.name()), bytes).unwrap();
        }
    }

    fn files_beside(&self, files: &[(&str, String)]) -> ModelFiles {
        let mut side = BTreeMap::from([("config.json".to_owned(), self.0["config"].to_string())]);
        side.extend(files.iter().map(|(file, text)| ((*file).to_owned(), text.clone())));
        for (file, json) in self.0.get("side").and_then(Value::as_object).into_iter().flatten() {
            side.insert(file.clone(), json.to_string());
        }
        folder_files(self.name(), &self.hf_tensors(&self.0["tensors"]), side)
    }

    /// The same model inside one that also sees: what its class has by default left out of a nested config, as the publisher's folders
    /// do, and a tensor of the vision tower beside it.
    pub fn nested_folder(&self, model_type: &str, by_default: &[&str]) -> Checkpoint {
        let mut text = self.0["config"].clone();
        by_default.iter().for_each(|key| drop(text.as_object_mut().unwrap().remove(*key)));
        let config = serde_json::json!({"model_type": model_type, "text_config": text, "vision_config": {}});
        let tensors = self.hf_tensors(&self.0["tensors"]);
        let mut tensors: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (format!("language_model.{name}"), tensor)).collect();
        let patches = Tensor { shape: vec![4, 4], weights: vec![0.0; 16] };
        tensors.insert("vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight".to_owned(), patches);
        open_folder(self.name(), &tensors, BTreeMap::from([("config.json".to_owned(), config.to_string())]))
    }

    /// The same model as a GGUF, where there is such a file.
    pub fn gguf(&self) -> Option<Checkpoint> {
        let file = to_gguf(self.0.get("gguf")?, &self.hf_tensors(&self.0["tensors"]));
        Some(open_bytes(&format!("{}.gguf", self.name()), file))
    }

    /// The LoRA adapter of this model: `adapter_config.json` and its safetensors.
    pub fn adapter_folder(&self) -> ModelFiles {
        let adapter = &self.0["adapter"];
        let side = BTreeMap::from([("adapter_config.json".to_owned(), adapter["config"].to_string())]);
        folder_files(self.name(), &self.hf_tensors(&adapter["tensors"]), side)
    }

    /// The same adapter as a GGUF, where there is such a file.
    pub fn adapter_gguf(&self) -> Option<ModelFiles> {
        let adapter = &self.0["adapter"];
        let file = to_gguf(adapter.get("gguf")?, &self.hf_tensors(&adapter["tensors"]));
        let name = format!("{}, adapter.gguf", self.name());
        Some(ModelFiles { weights: vec![Rc::new(MemorySource::new(&name, file))], name, side: BTreeMap::new() })
    }

    /// The tensors of these names and shapes.
    fn hf_tensors(&self, shapes: &Value) -> BTreeMap<String, Tensor> {
        let shapes: Map<String, Value> = shapes.as_object().unwrap().clone();
        let tensor = |(name, shape): (String, Value)| {
            let shape: Vec<usize> = serde_json::from_value(shape).unwrap();
            let weights = self.fill(&name, shape.iter().product());
            (name, Tensor { shape, weights })
        };
        shapes.into_iter().map(tensor).collect()
    }

    /// `Weights.fill` of `hashed.py`: FNV-1a of salt and name, then splitmix64.
    fn fill(&self, name: &str, n: usize) -> Vec<f32> {
        let rule = &self.0["weights"];
        let scale = rule["scale"].as_f64().unwrap() as f32;
        let center = if is_norm(name) { rule["norm_center"].as_f64().unwrap() as f32 } else { 0.0 };
        let text = format!("{}:{name}", rule["salt"]);
        let seed =
            text.bytes().fold(0xCBF2_9CE4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
        let weight = |i: u64| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f32 / (1 << 24) as f32 * 2.0 - 1.0) * scale + center
        };
        (1..=n as u64).map(weight).collect()
    }
}

fn is_norm(name: &str) -> bool {
    let has = |part: &str| name.contains(part);
    name.ends_with(".weight") && (name.to_lowercase().contains("norm") || has(".ln_") || has("emb_ln"))
}

fn open_folder(name: &str, tensors: &BTreeMap<String, Tensor>, side: BTreeMap<String, String>) -> Checkpoint {
    block_on(Checkpoint::open(folder_files(name, tensors, side))).unwrap()
}

fn folder_files(name: &str, tensors: &BTreeMap<String, Tensor>, side: BTreeMap<String, String>) -> ModelFiles {
    let views = tensors.iter().map(|(name, tensor)| {
        let bytes = bytemuck::cast_slice(&tensor.weights);
        (name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap())
    });
    let weights = safetensors::serialize(views, None).unwrap();
    let memory = |name: &str, bytes: Vec<u8>| -> Rc<dyn Source> { Rc::new(MemorySource::new(name, bytes)) };
    let side = side.into_iter().map(|(file, text)| (file.clone(), memory(&file, text.into_bytes()))).collect();
    let weights = vec![memory("model.safetensors", weights)];
    ModelFiles { name: name.to_owned(), weights, side }
}

/// The file that `to_gguf.py` describes.
fn to_gguf(described: &Value, tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let writer = described["metadata"].as_object().unwrap().iter().fold(GgufWriter::default(), write_metadata);
    let write = |writer: GgufWriter, entry: &Value| {
        let tensor = replay(entry[1].as_str().unwrap(), &entry[2], tensors);
        let shape: Vec<u64> = tensor.shape.iter().map(|n| *n as u64).collect();
        writer.f32_tensor(entry[0].as_str().unwrap(), &shape, &tensor.weights)
    };
    described["tensors"].as_array().unwrap().iter().fold(writer, write).finish()
}

/// The types that llama.cpp's files have: u32, f32, and arrays of i32 and of truth values.
fn write_metadata(writer: GgufWriter, (key, value): (&String, &Value)) -> GgufWriter {
    match value {
        Value::Bool(value) => writer.bool(key, *value),
        Value::Number(number) if number.is_f64() => writer.float(key, number.as_f64().unwrap() as f32),
        Value::Number(number) => writer.uint(key, number.as_u64().unwrap().try_into().unwrap()),
        Value::String(text) => writer.string(key, text),
        Value::Array(values) if values[0].is_boolean() => {
            writer.bools(key, &values.iter().map(|value| value.as_bool().unwrap()).collect::<Vec<_>>())
        }
        Value::Array(values) if values[0].is_string() => {
            writer.strings(key, &values.iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>())
        }
        Value::Array(values) => {
            writer.ints(key, &values.iter().map(|value| value.as_i64().unwrap() as i32).collect::<Vec<_>>())
        }
        Value::Null | Value::Object(_) => panic!("{key}: {value}"),
    }
}

/// What `to_gguf.py` says becomes of Hugging Face's tensors on their way to a GGUF.
fn replay(operation: &str, from: &Value, tensors: &BTreeMap<String, Tensor>) -> Tensor {
    if operation == "values" {
        let weights: Vec<f32> = serde_json::from_value(from.clone()).unwrap();
        return Tensor { shape: vec![weights.len()], weights };
    }
    let sources: Vec<&Tensor> = from.as_array().unwrap().iter().map(|name| &tensors[name.as_str().unwrap()]).collect();
    let first = sources[0];
    let (operation, n) = operation.split_once(':').unwrap_or((operation, "0"));
    let n: usize = n.parse().unwrap();
    match operation {
        "same" => first.clone(),
        "add_one" => {
            Tensor { shape: first.shape.clone(), weights: first.weights.iter().map(|weight| weight + 1.0).collect() }
        }
        "transpose" => first.transposed(),
        "rows" => first.with_rows(n..first.shape[0]),
        // Rows (head, half, pair) become (head, pair, half).
        "permute" => first.regrouped([n, 2], |[head, half, pair], n_pairs| (head * n_pairs + pair) * 2 + half),
        // Rows (head, q k v, d) become (q k v, head, d).
        "qkv" => first.regrouped([n, 3], |[head, part, d], head_dim| (part * n + head) * head_dim + d),
        "stack" => Tensor {
            shape: [&[sources.len()], &first.shape[..]].concat(),
            weights: sources.iter().flat_map(|source| source.weights.clone()).collect(),
        },
        other => panic!("{other} is no operation"),
    }
}

impl Tensor {
    /// Values of a row.
    fn row_len(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// The rows of these numbers.
    fn with_rows(&self, rows: impl ExactSizeIterator<Item = usize>) -> Self {
        let row_len = self.row_len();
        let shape = [&[rows.len()], &self.shape[1..]].concat();
        let weights = rows.flat_map(|row| &self.weights[row * row_len..(row + 1) * row_len]).copied().collect();
        Self { shape, weights }
    }

    /// Its rows, which stand as `(a, b, c)` with `[a, b]` given, where `place` of their three numbers and of c says.
    fn regrouped(&self, [a, b]: [usize; 2], place: impl Fn([usize; 3], usize) -> usize) -> Self {
        let c = self.shape[0] / (a * b);
        let mut rows = vec![0; self.shape[0]];
        for row in 0..self.shape[0] {
            rows[place([row / (b * c), row / c % b, row % c], c)] = row;
        }
        self.with_rows(rows.into_iter())
    }

    fn transposed(&self) -> Self {
        let [n_rows, n_columns] = self.shape[..] else { panic!("a matrix, not {:?}", self.shape) };
        let weights = (0..n_columns).flat_map(|column| self.weights[column..].iter().step_by(n_columns).copied());
        Self { shape: vec![n_columns, n_rows], weights: weights.collect() }
    }
}
