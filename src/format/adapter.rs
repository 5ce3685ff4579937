//! LoRA adapters (arXiv 2106.09685) beside a model's tensors: y = W·x + scale·B·(A·x), W as it is. PEFT's folders and GGUF
//! adapters become tensors of the checkpoint they are laid on.

use super::checkpoint::{Kind, side_json, sniff};
use super::names::Family;
use super::view::View;
use super::{Checkpoint, Config, TensorInfo, gguf, safetensors};
use crate::error::{Error, Result};
use crate::hub::{ModelFiles, PEFT_CONFIG, PEFT_WEIGHTS};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What one adapter adds to one matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    /// The matrix, by GGUF's name.
    pub of: String,
    /// The name of A, `(rank, columns of the matrix)`.
    pub a: String,
    /// The name of B, `(rows of the matrix, rank)`.
    pub b: String,
    /// Factor of B·A·x.
    pub scale: f32,
}

/// A and B of a matrix as they are found, in any order.
#[derive(Default)]
struct Pair {
    a: Option<TensorInfo>,
    b: Option<TensorInfo>,
    alpha: Option<f64>,
}

impl Checkpoint {
    /// Lays an adapter on the model, `strength` times as strong as its files say. Several may be laid on one model.
    ///
    /// # Errors
    /// `Format` for files that are no adapter, or one of other sizes than the model's; `Unsupported` for kinds other than LoRA.
    pub async fn adapt(&mut self, files: ModelFiles, strength: f32) -> Result<()> {
        let Some(first) = files.weights.first() else {
            return Err(Error::format(files.name, format!("an adapter wanted: a GGUF, or {PEFT_WEIGHTS}; found none")));
        };
        if !strength.is_finite() {
            return Err(Error::invalid(format!("the strength of adapter {} is {strength}", files.name)));
        }
        let kind = sniff(first.as_ref()).await?;
        match kind {
            Kind::Gguf => self.adapt_gguf(files, strength).await,
            Kind::Safetensors => self.adapt_peft(files, strength).await,
        }
    }

    /// Whether its files are an adapter, which is no model by itself.
    pub fn is_adapter(&self) -> bool {
        match &self.config {
            Config::Gguf(metadata) => metadata.string("general.type") == Some("adapter"),
            Config::HuggingFace(config) => config.is_null() && self.side.contains_key(PEFT_CONFIG),
        }
    }

    /// What adapters add to a matrix.
    pub fn adapted(&self, name: &str) -> impl Iterator<Item = &Adapted> {
        self.adapters.iter().filter(move |adapted| adapted.of == name)
    }

    async fn adapt_gguf(&mut self, files: ModelFiles, strength: f32) -> Result<()> {
        let wrong = |what: String| Error::format(&files.name, what);
        let header = gguf::read_header(files.weights[0].as_ref(), self.files.len()).await?;
        let text = |key: &str| header.metadata.string(key).unwrap_or("");
        if text("general.type") != "adapter" || text("adapter.type") != "lora" {
            let found = (text("general.type"), text("adapter.type"));
            return Err(wrong(format!("general.type \"adapter\" and adapter.type \"lora\" wanted, found {found:?}")));
        }
        let Config::Gguf(metadata) = &self.config else {
            let what = format!("a GGUF adapter ({}) on a folder: a PEFT folder is for folders and GGUFs", files.name);
            return Err(Error::unsupported(what));
        };
        let (ours, theirs) = (metadata.string("general.architecture").unwrap_or(""), text("general.architecture"));
        if ours != theirs {
            return Err(wrong(format!("an adapter for {ours} wanted, it is one for {theirs}")));
        }
        let alpha = header.metadata.float("adapter.lora.alpha");
        let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
        for tensor in header.tensors {
            let (of, is_a) = match (tensor.name.strip_suffix(".lora_a"), tensor.name.strip_suffix(".lora_b")) {
                (Some(of), _) => (of.to_owned(), true),
                (_, Some(of)) => (of.to_owned(), false),
                (None, None) => return Err(wrong(format!("tensor {}: it is part of no adapter", tensor.name))),
            };
            pairs.entry(of).or_default().put(is_a, tensor, alpha);
        }
        // llama.cpp takes an alpha of 0 for none.
        self.add_pairs(files, pairs, |alpha, rank| match alpha {
            Some(alpha) if alpha != 0.0 => strength * (alpha / rank) as f32,
            _ => strength,
        })
    }

    async fn adapt_peft(&mut self, files: ModelFiles, strength: f32) -> Result<()> {
        let Some(config) = side_json(&files.side, PEFT_CONFIG).await? else {
            return Err(Error::format(files.name, format!("{PEFT_CONFIG} wanted beside the weights, found none")));
        };
        let settings = Peft::read(&files.name, &config)?;
        let (family, permuted_head) = match &self.config {
            Config::HuggingFace(config) => (Family::of(config), None),
            Config::Gguf(metadata) => {
                let family = Family::of_gguf(metadata);
                let is_permuted = metadata.string("general.architecture").is_some_and(gguf::permutes_heads);
                let head_dim = family.head_dim();
                (family, is_permuted.then_some(head_dim))
            }
        };
        // Names are translated here: of what peft wraps, not of files.
        let header = safetensors::read_header(files.weights[0].as_ref(), self.files.len(), &Family::default()).await?;
        let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
        let mut replaced = Vec::new();
        for tensor in header.tensors {
            match settings.part(&files.name, &tensor.name)? {
                Part::Whole(module) => {
                    let name = family.gguf_name(&module).unwrap_or(module);
                    replaced.push(TensorInfo { name, ..tensor });
                }
                Part::Low { module, is_a } => {
                    let name = family.gguf_name(&format!("{module}.weight")).unwrap_or_default();
                    let alpha = Some(settings.alpha(&module));
                    for (of, tensor) in family.low_rank_parts(&name, is_a, tensor) {
                        let is_rotated = of.ends_with("attn_q.weight") || of.ends_with("attn_k.weight");
                        let view = match permuted_head {
                            Some(len) if !is_a && is_rotated => View::Interleaved { len },
                            _ => tensor.view,
                        };
                        pairs.entry(of).or_default().put(is_a, TensorInfo { view, ..tensor }, alpha);
                    }
                }
            }
        }
        for tensor in replaced {
            if tensor.name.starts_with("blk.") {
                let what = format!(
                    "tensor {} of {} in place of the model's: heads alone are replaced",
                    tensor.name, files.name
                );
                return Err(Error::unsupported(what));
            }
            let wanted = self.tensors.get(&tensor.name).map(|ours| ours.shape.clone());
            if wanted.is_some_and(|wanted| wanted != tensor.shape && !tensor.name.starts_with("cls")) {
                let (name, shape) = (&tensor.name, &tensor.shape);
                return Err(Error::format(&files.name, format!("tensor {name} of shape {shape:?} replaces another's")));
            }
            self.filed.remove(&tensor.name);
            self.importance.remove(&tensor.name);
            self.tensors.insert(tensor.name.clone(), tensor);
        }
        let by_root = settings.by_root;
        self.add_pairs(files, pairs, |alpha, rank| {
            let rank = if by_root { rank.sqrt() } else { rank };
            strength * (alpha.unwrap_or(rank) / rank) as f32
        })
    }

    /// Adds each A and B to the tensors; `scale` makes a factor of alpha and rank.
    fn add_pairs(
        &mut self,
        files: ModelFiles,
        pairs: BTreeMap<String, Pair>,
        scale: impl Fn(Option<f64>, f64) -> f32,
    ) -> Result<()> {
        let number = self.n_adapters;
        for (of, pair) in pairs {
            let wrong = |what: String| Error::format(&files.name, what);
            let Some(matrix) = self.tensors.get(&of) else {
                return Err(wrong(format!("it adapts {of}, which {} does not have", self.name)));
            };
            let (Some(a), Some(b)) = (pair.a, pair.b) else {
                return Err(wrong(format!("A and B of {of} wanted, one is missing")));
            };
            let rank = a.rows();
            if rank == 0 || a.cols() != matrix.cols() || b.rows() != matrix.rows() || b.cols() != rank {
                let (a, b, of_shape) = (&a.shape, &b.shape, &matrix.shape);
                return Err(wrong(format!("A {a:?} and B {b:?} do not fit {of} of shape {of_shape:?}")));
            }
            let name = |part: &str| format!("{of}.lora_{part}.{number}");
            let (a, b) = (TensorInfo { name: name("a"), ..a }, TensorInfo { name: name("b"), ..b });
            let scale = scale(pair.alpha, rank as f64);
            self.adapters.push(Adapted { of, a: a.name.clone(), b: b.name.clone(), scale });
            self.tensors.extend([(a.name.clone(), a), (b.name.clone(), b)]);
        }
        self.n_adapters += 1;
        self.files.extend(files.weights);
        Ok(())
    }
}

impl Pair {
    fn put(&mut self, is_a: bool, tensor: TensorInfo, alpha: Option<f64>) {
        self.alpha = alpha;
        if is_a { self.a = Some(tensor) } else { self.b = Some(tensor) }
    }
}

/// What `adapter_config.json` says.
struct Peft {
    alpha: f64,
    /// Alphas of single modules, by the ends of their names.
    alphas: Vec<(String, f64)>,
    /// Scaled by the root of the rank (arXiv 2312.03732).
    by_root: bool,
}

/// What a tensor of a PEFT folder is.
enum Part {
    /// A or B of a module.
    Low { module: String, is_a: bool },
    /// A tensor in place of the model's: its name.
    Whole(String),
}

impl Peft {
    fn read(file: &str, config: &Json) -> Result<Self> {
        let kind = config.get("peft_type").and_then(Json::as_str).unwrap_or("");
        if !kind.eq_ignore_ascii_case("lora") {
            return Err(Error::unsupported(format!("an adapter of type {kind:?} ({file}): LORA runs")));
        }
        if config.get("use_dora").and_then(Json::as_bool) == Some(true) {
            return Err(Error::unsupported(format!("DoRA ({file}): plain LoRA runs")));
        }
        let Some(alpha) = config.get("lora_alpha").and_then(Json::as_f64) else {
            return Err(Error::format(file, format!("lora_alpha of {PEFT_CONFIG} is no number")));
        };
        let patterns = config.get("alpha_pattern").and_then(Json::as_object);
        let is_pattern = |name: &&String| name.contains(['\\', '^', '$', '*', '+', '?', '(', '[', '{', '|']);
        if let Some(pattern) = patterns.and_then(|patterns| patterns.keys().find(is_pattern)) {
            let what = format!("alpha_pattern {pattern:?} of {file}: names of modules run, regular expressions do not");
            return Err(Error::unsupported(what));
        }
        let alphas = patterns.into_iter().flatten().filter_map(|(name, alpha)| Some((name.clone(), alpha.as_f64()?)));
        let by_root = config.get("use_rslora").and_then(Json::as_bool) == Some(true);
        Ok(Self { alpha, alphas: alphas.collect(), by_root })
    }

    fn alpha(&self, module: &str) -> f64 {
        let own = self.alphas.iter().find(|(name, _)| module == name || module.ends_with(&format!(".{name}")));
        own.map_or(self.alpha, |(_, alpha)| *alpha)
    }

    fn part(&self, file: &str, name: &str) -> Result<Part> {
        let module = name.strip_prefix("base_model.model.").unwrap_or(name);
        for (mark, is_a) in [(".lora_A.", true), (".lora_B.", false)] {
            // Between the mark and the end may stand the adapter's name.
            if let Some((module, rest)) = module.split_once(mark)
                && rest.rsplit('.').next() == Some("weight")
            {
                return Ok(Part::Low { module: module.to_owned(), is_a });
            }
        }
        if module.contains(".lora_") {
            return Err(Error::unsupported(format!("tensor {name} of {file}: A and B of linear layers run")));
        }
        // Modules that were trained whole stand in a wrapper.
        Ok(Part::Whole(module.replace(".modules_to_save.default", "").replace(".modules_to_save", "")))
    }
}
