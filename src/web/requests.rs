//! The requests that come from JS, and how each becomes the library's own options. Field names are camelCase on the JS
//! side; an unknown field is refused, so that a misspelt option is not silently ignored.

use crate::error::{Error, Result};
use crate::hub::{HubOptions, ModelFiles};
use crate::measure::BenchOptions;
use crate::session::{
    AnswerPrompt, Cancel, GenerateOptions, KvType, LoadOptions, ModelInfo, Overflow, Piece, Session, Speculate,
    StepLogprobs, TokenLogprob,
};
use crate::source::{BlobSource, Source, StoredFile, StoredSource};
use crate::tasks::TextEncoder;
use crate::text::{
    ChatOptions, Grammar, ReplyOptions, ReplyParser, ReplyPart, SamplingParams, Tools, WrongField, read_messages,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
    /// A conversation, put through the model's template: messages in OpenAI's shapes.
    messages: Option<Value>,
    /// Whether the last message is the beginning of the answer, which goes on behind it.
    go_on: bool,
    /// Whether a model that can think first does so; absent, as its template has it.
    thinking: Option<bool>,
    /// Functions that the model may call, and whether it must, in OpenAI's shapes.
    tools: Value,
    tool_choice: Value,
    /// Whether one answer may call several; absent, it may.
    parallel_tool_calls: Option<bool>,
    /// Whether pieces say what they are parts of: of a thought, of what is said, of calls.
    parts: bool,
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
    /// Tokens of the answer that are there already, and the text that was told of them.
    answered: Vec<u32>,
    told: String,
    /// `error`, `shift` or `truncate-middle`.
    overflow: Option<String>,
    stop: Vec<String>,
    /// A JSON schema that the answer must fit.
    schema: Option<Value>,
    /// A grammar in Lark's syntax that the answer must be of.
    grammar: Option<String>,
    logprobs: Option<usize>,
}

/// A request that is read: what `Session::generate` takes, and how to read the answer.
pub(super) struct Generate {
    pub(super) prompt: Vec<u32>,
    pub(super) options: GenerateOptions,
    pub(super) parser: Option<ReplyParser>,
}

impl GenerateRequest {
    pub(super) fn read(mut self, session: &Session, cancel: Cancel) -> Result<Generate> {
        let tools = Tools::read(&self.tools, &self.tool_choice).map_err(invalid)?;
        let asked = self.grammar()?;
        if asked.is_some() && !tools.offered.is_empty() {
            return Err(Error::invalid(
                "schema or grammar beside tools: an answer that is held to a form calls nothing",
            ));
        }
        let grammar = tools.forced.clone().or(asked);
        if grammar.is_none() {
            session.check_tools(&tools.descriptions())?;
        }
        let prompt = self.prompt(session, &tools)?;
        // An answer that must be of a form has no place for thoughts.
        let is_reasoning = prompt.is_reasoning && grammar.is_none();
        let one_call = self.parallel_tool_calls == Some(false);
        let reply = ReplyOptions { is_reasoning, goes_on: self.go_on, tools: tools.names(), one_call };
        let parser = self.parts.then(|| {
            let mut parser = ReplyParser::new(reply);
            // Of these parts was told before.
            drop(parser.push(&self.told));
            parser
        });
        Ok(Generate { prompt: prompt.ids, options: self.options(grammar, cancel)?, parser })
    }

    fn prompt(&self, session: &Session, tools: &Tools) -> Result<AnswerPrompt> {
        let thinking = self.thinking.map(|thinking| ("enable_thinking".to_owned(), thinking.into()));
        let variables = thinking.into_iter().collect();
        let options = ChatOptions { tools: tools.descriptions(), variables, ..ChatOptions::default() };
        let messages = match (&self.messages, &self.prompt, &self.ids) {
            (Some(messages), None, None) => messages.clone(),
            (None, Some(text), None) if self.raw => return Ok(session.raw_prompt(text)?.into()),
            (None, Some(text), None) => json!([{"role": "user", "content": text}]),
            (None, None, Some(ids)) => return Ok(ids.clone().into()),
            _ => return Err(Error::invalid("exactly one of messages, prompt and ids is wanted")),
        };
        let messages = read_messages(&messages).map_err(invalid)?;
        session.answer_prompt(&messages, &options, self.go_on)
    }

    fn grammar(&mut self) -> Result<Option<Grammar>> {
        match (self.schema.take(), self.grammar.take()) {
            (Some(_), Some(_)) => Err(Error::invalid("schema or grammar is wanted, not both")),
            (Some(schema), None) => Ok(Some(Grammar::JsonSchema(schema))),
            (None, grammar) => Ok(grammar.map(Grammar::Lark)),
        }
    }

    fn options(self, grammar: Option<Grammar>, cancel: Cancel) -> Result<GenerateOptions> {
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
        Ok(GenerateOptions {
            max_tokens: self.max_tokens,
            answered: self.answered,
            overflow: self.overflow.as_deref().map_or(Ok(Overflow::default()), Overflow::from_name)?,
            sampling,
            grammar,
            stop: self.stop,
            logprobs: self.logprobs,
            spells_marks: self.parts,
            cancel,
            ..GenerateOptions::default()
        })
    }
}

fn invalid(wrong: WrongField) -> Error {
    Error::invalid(wrong.to_string())
}

/// A piece of an answer on its way to JS.
#[derive(Default, Serialize)]
pub(super) struct PieceEvent<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [u32],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<ReplyPart>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) logprobs: Vec<StepEvent<'a>>,
}

impl<'a> From<Piece<'a>> for PieceEvent<'a> {
    fn from(piece: Piece<'a>) -> Self {
        let logprobs = piece.logprobs.iter().map(StepEvent::from).collect();
        Self { text: piece.text, tokens: piece.tokens, parts: Vec::new(), logprobs }
    }
}

/// A token's log-probability with its bytes.
#[derive(Serialize)]
struct TokenEvent<'a> {
    id: u32,
    bytes: &'a [u8],
    logprob: f32,
}

/// The log-probabilities of a step.
#[derive(Serialize)]
pub(super) struct StepEvent<'a> {
    id: u32,
    bytes: &'a [u8],
    logprob: f32,
    top: Vec<TokenEvent<'a>>,
}

impl<'a> From<&'a StepLogprobs> for StepEvent<'a> {
    fn from(step: &'a StepLogprobs) -> Self {
        let token = |token: &'a TokenLogprob| TokenEvent { id: token.id, bytes: &token.bytes, logprob: token.logprob };
        Self { id: step.id, bytes: &step.bytes, logprob: step.logprob, top: step.top.iter().map(token).collect() }
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
