//! The requests that come from JS, and how each becomes the library's own options. Field names are camelCase on the JS
//! side; an unknown field is refused, so that a misspelt option is not silently ignored.

use crate::error::{Error, Result};
use crate::hub::{HubOptions, ModelFiles};
use crate::measure::BenchOptions;
use crate::session::{
    Cancel, GenerateOptions, KvType, LoadOptions, ModelInfo, Overflow, Piece, Session, Speculate, StepLogprobs,
};
use crate::source::{BlobSource, Source, StoredFile, StoredSource};
use crate::tasks::TextEncoder;
use crate::text::{ChatOptions, Grammar, Message, SamplingParams};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};

/// `Engine.create`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct CreateRequest {
    /// A part of an adapter's name.
    pub(super) device: Option<String>,
    /// What `Engine.tune` gave before.
    pub(super) tunings: Option<String>,
}

/// `Engine.load`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct LoadRequest {
    /// Tokens of context to reserve.
    context_length: Option<usize>,
    /// `f32` or `f16`.
    kv_type: Option<String>,
    /// `off` or `lookup`.
    speculate: Option<String>,
    /// Conversations that the cache holds side by side.
    parallel: Option<usize>,
    /// Where each built-in model lies.
    builtin_urls: BTreeMap<String, String>,
    /// A hub mirror's address.
    endpoint: Option<String>,
    /// The hub's access token.
    token: Option<String>,
}

impl LoadRequest {
    pub(super) fn load_options(&self, cancel: Cancel) -> Result<LoadOptions> {
        let kv_type = match self.kv_type.as_deref() {
            None | Some("f16") => KvType::F16,
            Some("f32") => KvType::F32,
            Some("q8_0") => KvType::Q8,
            Some(other) => return Err(Error::invalid(format!("kvType must be f32, f16 or q8_0, not {other}"))),
        };
        let speculate = match self.speculate.as_deref() {
            None | Some("off") => Speculate::Off,
            Some("lookup") => Speculate::Lookup,
            Some(other) => return Err(Error::invalid(format!("speculate must be off or lookup, not {other}"))),
        };
        Ok(LoadOptions { context_len: self.context_length, kv_type, parallel: self.parallel, speculate, cancel })
    }

    pub(super) fn hub_options(&self) -> HubOptions {
        let mut options = HubOptions::default();
        if let Some(endpoint) = &self.endpoint {
            options.endpoint = endpoint.clone();
        }
        options.builtin_urls = self.builtin_urls.clone();
        options.token = self.token.clone();
        options
    }
}

/// `Engine.generate`: one of `messages`, `prompt` and `ids`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct GenerateRequest {
    /// A conversation, put through the model's template.
    messages: Option<Vec<Message>>,
    /// Whether the last message is the beginning of the answer, which goes on behind it.
    go_on: bool,
    /// Whether a model that can think first does so; absent, as its template has it.
    thinking: Option<bool>,
    /// Functions that the model may call, as JSON schemas.
    tools: Vec<serde_json::Value>,
    /// A text: the user's message, or with `raw` what is continued as it stands.
    prompt: Option<String>,
    /// The prompt as token ids.
    ids: Option<Vec<u32>>,
    raw: bool,
    temperature: Option<f32>,
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repeat_penalty: Option<f32>,
    seed: Option<u32>,
    max_tokens: Option<usize>,
    /// Tokens of the answer that are there already.
    answered: Vec<u32>,
    /// `error`, `shift` or `truncate-middle`.
    overflow: Option<String>,
    stop: Vec<String>,
    /// A JSON schema that the answer must fit.
    schema: Option<serde_json::Value>,
    /// A grammar in Lark's syntax that the answer must be of.
    grammar: Option<String>,
    logprobs: Option<usize>,
}

impl GenerateRequest {
    pub(super) fn prompt_ids(&self, session: &Session) -> Result<Vec<u32>> {
        match (&self.messages, &self.prompt, &self.ids) {
            (Some(messages), None, None) if self.go_on => self.begun_prompt(session, messages),
            (Some(messages), None, None) => session.chat_prompt(messages, &self.chat_options()),
            (None, Some(text), None) if self.raw => session.raw_prompt(text),
            (None, Some(text), None) => {
                session.chat_prompt(&[Message { role: "user".into(), content: text.clone() }], &self.chat_options())
            }
            (None, None, Some(ids)) => Ok(ids.clone()),
            _ => Err(Error::invalid("exactly one of messages, prompt and ids is wanted")),
        }
    }

    /// The prompt of the messages but the last, and behind it what the last one says.
    fn begun_prompt(&self, session: &Session, messages: &[Message]) -> Result<Vec<u32>> {
        let Some((begun, before)) = messages.split_last().filter(|(last, _)| last.role == "assistant") else {
            return Err(Error::invalid("goOn wants an assistant's message as the last one"));
        };
        session.chat_prompt(before, &ChatOptions { begun: begun.content.clone(), ..self.chat_options() })
    }

    fn chat_options(&self) -> ChatOptions {
        let thinking = self.thinking.map(|thinking| ("enable_thinking".to_owned(), thinking.into()));
        ChatOptions { tools: self.tools.clone(), variables: thinking.into_iter().collect(), ..ChatOptions::default() }
    }

    fn grammar(&mut self) -> Result<Option<Grammar>> {
        match (self.schema.take(), self.grammar.take()) {
            (Some(_), Some(_)) => Err(Error::invalid("schema or grammar is wanted, not both")),
            (Some(schema), None) => Ok(Some(Grammar::JsonSchema(schema))),
            (None, grammar) => Ok(grammar.map(Grammar::Lark)),
        }
    }

    pub(super) fn generate_options(mut self, cancel: Cancel) -> Result<GenerateOptions> {
        let default = SamplingParams::default();
        let sampling = SamplingParams {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(default.repeat_penalty),
            seed: self.seed.unwrap_or(default.seed),
            ..default
        };
        sampling.validate()?;
        let grammar = self.grammar()?;
        Ok(GenerateOptions {
            max_tokens: self.max_tokens,
            answered: self.answered,
            overflow: self.overflow.as_deref().map_or(Ok(Overflow::default()), Overflow::from_name)?,
            sampling,
            grammar,
            stop: self.stop,
            logprobs: self.logprobs,
            cancel,
            ..GenerateOptions::default()
        })
    }
}

/// A piece of an answer on its way to JS.
#[derive(Serialize)]
pub(super) struct PieceEvent<'a> {
    text: &'a str,
    tokens: &'a [u32],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    logprobs: &'a [StepLogprobs],
}

impl<'a> From<Piece<'a>> for PieceEvent<'a> {
    fn from(piece: Piece<'a>) -> Self {
        Self { text: piece.text, tokens: piece.tokens, logprobs: piece.logprobs }
    }
}

/// `Engine.bench`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct BenchRequest {
    /// Prompt tokens; none means 512, or what fits twice into the context.
    prompt: Option<usize>,
    /// Generated tokens.
    generate: usize,
    /// Texts at once.
    batch: usize,
    /// Runs of each test.
    repetitions: usize,
}

impl Default for BenchRequest {
    fn default() -> Self {
        Self { prompt: None, generate: 128, batch: 1, repetitions: 5 }
    }
}

impl BenchRequest {
    /// `longest`: the prompt that fits well.
    pub(super) fn bench_options(&self, longest: usize) -> BenchOptions {
        BenchOptions {
            n_prompt: self.prompt.unwrap_or(longest.min(512)),
            n_generate: self.generate,
            n_batch: self.batch,
            repetitions: self.repetitions,
        }
    }
}

/// A finished run of a benchmark on its way to JS.
#[derive(Serialize)]
pub(super) struct RunEvent {
    pub(super) done: usize,
    pub(super) total: usize,
}

/// What `Engine.load` and `Engine.info` resolve to.
#[derive(Serialize)]
pub(super) struct ModelDescription<'a> {
    /// `decoder` or `encoder`.
    kind: &'static str,
    #[serde(flatten)]
    info: &'a ModelInfo,
    /// Whether a decoder has a chat template; without one it can only continue text.
    has_template: bool,
    /// The labels of an encoder's head; empty without a head.
    labels: &'a [String],
    /// Bytes of WebAssembly memory the engine takes; it never shrinks, so this is the most it ever took.
    heap_bytes: usize,
}

/// Bytes of a page of WebAssembly memory.
const WASM_PAGE: usize = 64 << 10;

fn heap_bytes() -> usize {
    core::arch::wasm32::memory_size(0) * WASM_PAGE
}

impl<'a> ModelDescription<'a> {
    pub(super) fn decoder(session: &'a Session) -> Self {
        Self {
            kind: "decoder",
            info: session.info(),
            has_template: session.chats(),
            labels: &[],
            heap_bytes: heap_bytes(),
        }
    }

    pub(super) fn encoder(encoder: &'a TextEncoder) -> Self {
        Self {
            kind: "encoder",
            info: encoder.info(),
            has_template: false,
            labels: encoder.labels(),
            heap_bytes: heap_bytes(),
        }
    }
}

/// `[{name, blob}]`, or `{name, files: [{name, file}]}` of the page's store, as the files of one model, the weights in the order of
/// their names. A single file of another kind counts as weights, so that the reader says what it is instead.
pub(super) fn model_files(source: &JsValue) -> Result<ModelFiles> {
    let wanted = || Error::invalid("a model is a name, a list of {name, blob} or {name, files}");
    let files = field(source, "files").dyn_into::<js_sys::Array>().ok();
    let entries = files.or_else(|| source.dyn_ref::<js_sys::Array>().cloned()).ok_or_else(wanted)?;
    let mut files = entries.iter().map(|entry| named_file(&entry)).collect::<Result<Vec<_>>>()?;
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let is_single = files.len() == 1;
    let mut model = ModelFiles { name: String::new(), weights: Vec::new(), side: Default::default() };
    for (name, source) in files {
        if is_single || name.ends_with(".gguf") || name.ends_with(".safetensors") {
            model.weights.push(source);
        } else {
            model.side.insert(name, source);
        }
    }
    let first = model.weights.first();
    let first = first.ok_or_else(|| Error::invalid("no .gguf or .safetensors file among those given"))?;
    model.name = field(source, "name").as_string().unwrap_or_else(|| first.name().to_string());
    Ok(model)
}

fn named_file(entry: &JsValue) -> Result<(String, Rc<dyn Source>)> {
    let wanted = || Error::invalid("a model's file is {name, blob} with a Blob, or {name, file} of the store");
    let name = field(entry, "name").as_string().ok_or_else(wanted)?;
    if let Ok(blob) = field(entry, "blob").dyn_into::<web_sys::Blob>() {
        return Ok((name.clone(), Rc::new(BlobSource::new(name, blob))));
    }
    let file = field(entry, "file");
    if !file.is_object() {
        return Err(wanted());
    }
    Ok((name.clone(), Rc::new(StoredSource::new(name, file.unchecked_into::<StoredFile>()))))
}

/// A field of a JS object; undefined where there is none.
fn field(object: &JsValue, name: &str) -> JsValue {
    js_sys::Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}
