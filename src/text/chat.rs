//! Messages to prompt through the model's own Jinja template. Holds no template of its own.

use super::tokenizer::{SENTINEL, Tokenizer};
use super::{date, jinja, precheck};
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::format::checkpoint::Config;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Bytes of a rendered prompt.
const MAX_PROMPT_BYTES: usize = 16 << 20;
/// The template that is meant where a model has several.
const DEFAULT: &str = "default";
/// The template for conversations with tools, where a model has one of its own.
const TOOL_USE: &str = "tool_use";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// How the prompt ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptEnd {
    /// With the beginning of the assistant's answer.
    #[default]
    Answer,
    /// After the last message.
    Messages,
}

/// What a template may know besides the messages.
#[derive(Clone, Debug, Default)]
pub struct ChatOptions {
    /// How the prompt ends.
    pub end: PromptEnd,
    /// What the answer begins with already: it stands behind the prompt, and is plain text as messages are.
    pub begun: String,
    /// Seconds since 1970 for templates that print the date; without it they print their own default, or fail.
    pub now: Option<u64>,
    /// Functions that the model may call, each as a JSON schema; templates that know of none leave them out.
    pub tools: Vec<Value>,
    /// Further variables, such as `enable_thinking`; a template ignores those that it does not know.
    pub variables: Map<String, Value>,
}

/// A compiled chat template.
pub struct ChatTemplate {
    name: String,
    environment: Environment<'static>,
    has_tool_use: bool,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The text of a template, and where it stands.
#[derive(Clone, Debug)]
pub struct Source {
    /// The template.
    pub text: String,
    /// What to call it in messages.
    pub file: String,
}

impl Source {
    fn new(text: String, file: &str) -> Self {
        Self { text, file: file.to_owned() }
    }
}

impl ChatTemplate {
    /// Compiles a template; `name` is what to call it in messages.
    pub fn new(source: &str, name: &str) -> Result<Self> {
        let mut environment = jinja::environment(name)?;
        jinja::add(&mut environment, DEFAULT, source, name)?;
        Ok(Self { name: name.to_owned(), environment, has_tool_use: false })
    }

    /// Adds the template that renders conversations with tools in place of the first.
    pub fn with_tool_use(mut self, source: &str, name: &str) -> Result<Self> {
        jinja::add(&mut self.environment, TOOL_USE, source, name)?;
        self.has_tool_use = true;
        Ok(self)
    }

    /// The template of an opened model; none when the model has none.
    pub async fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        // A model with a template for tools alone has none.
        let (Some(source), tool_use) = Self::sources(checkpoint).await? else { return Ok(None) };
        let template = Self::new(&source.text, &source.file)?;
        match tool_use {
            Some(source) => template.with_tool_use(&source.text, &source.file).map(Some),
            None => Ok(Some(template)),
        }
    }

    /// An opened model's template and its template for tools: a GGUF's own, else `chat_template.jinja`, else the one in
    /// `tokenizer_config.json`.
    pub async fn sources(checkpoint: &Checkpoint) -> Result<(Option<Source>, Option<Source>)> {
        if let Config::Gguf(metadata) = checkpoint.config() {
            let named =
                |key: &str| metadata.string(key).map(|source| Source::new(source.to_owned(), checkpoint.name()));
            return Ok((named("tokenizer.chat_template"), named("tokenizer.chat_template.tool_use")));
        }
        let side = async |name: &'static str| -> Result<Option<Source>> {
            let bytes = checkpoint.side_text(name).await?;
            Ok(bytes.map(|bytes| Source::new(String::from_utf8_lossy(&bytes).into_owned(), name)))
        };
        if let Some(source) = side("chat_template.jinja").await? {
            return Ok((Some(source), side("additional_chat_templates/tool_use.jinja").await?));
        }
        let name = "tokenizer_config.json";
        let Some(bytes) = checkpoint.side_text(name).await? else { return Ok((None, None)) };
        let config = precheck::parse(name, &bytes)?;
        let named = |key| source_in_config(&config, key).map(|source| Source::new(source.to_owned(), name));
        Ok((named(DEFAULT), named(TOOL_USE)))
    }

    /// The prompt for these messages: each a `Message`, or JSON with the further keys that templates read (`tool_calls`,
    /// `reasoning_content`, `tool_call_id`). Texts of special tokens inside messages, tools and variables stay text: give
    /// the result to `Tokenizer::encode_prompt`, which knows the marks that keep them so.
    pub fn render<M: Serialize>(&self, messages: &[M], tokenizer: &Tokenizer, options: &ChatOptions) -> Result<String> {
        let specials = tokenizer.special_tokens();
        let messages = messages.iter().map(|message| plain_message(message, specials)).collect::<Result<Vec<_>>>()?;
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default();
        let tools: Vec<Value> = options.tools.iter().map(|tool| safe(tool, specials)).collect();
        let mut variables = json!({
            "messages": messages,
            "bos_token": text(tokenizer.bos()),
            "eos_token": text(tokenizer.eos()),
            "add_generation_prompt": options.end == PromptEnd::Answer,
            "tools": if tools.is_empty() { Value::Null } else { Value::Array(tools) },
            "documents": null,
        });
        for (name, value) in &options.variables {
            if name != "documents" && variables.get(name).is_some() {
                return Err(Error::invalid(format!("the template variable {name} is not free to set")));
            }
            variables[name] = safe(value, specials);
        }
        let mut environment = self.environment.clone();
        if let Some(now) = options.now {
            environment.add_function("strftime_now", move |format: String| date::strftime(&format, now));
        }
        let key = if self.has_tool_use && !options.tools.is_empty() { TOOL_USE } else { DEFAULT };
        let template = environment.get_template(key).map_err(|error| self.failed(&error))?;
        let mut prompt = template.render(Serde(variables)).map_err(|error| self.failed(&error))?;
        prompt.push_str(&protect(&options.begun, specials));
        if prompt.len() > MAX_PROMPT_BYTES {
            let (needed, available) = (prompt.len() as u64, MAX_PROMPT_BYTES as u64);
            return Err(Error::Limit { what: "bytes of a prompt".to_owned(), needed, available });
        }
        Ok(prompt)
    }

    /// Whether it tells a model of tools.
    pub fn takes_tools(&self) -> bool {
        let template = self.environment.get_template(DEFAULT);
        self.has_tool_use || template.is_ok_and(|template| template.undeclared_variables(false).contains("tools"))
    }

    fn failed(&self, error: &minijinja::Error) -> Error {
        match error.detail() {
            Some(detail) if detail.starts_with(jinja::RAISED) => Error::invalid(detail),
            _ => Error::format(&self.name, format!("its chat template fails: {error}")),
        }
    }
}

/// `chat_template` as a text, which is the default one, or as a list of named ones.
fn source_in_config<'v>(config: &'v Value, name: &str) -> Option<&'v str> {
    let template = config.get("chat_template")?;
    if let Some(source) = template.as_str() {
        return (name == DEFAULT).then_some(source);
    }
    let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(name);
    precheck::list(Some(template)).iter().find(named)?.get("template")?.as_str()
}

/// A message as templates read it. Keys without a value are left out: clients write them, and templates ask which are there.
fn plain_message<M: Serialize>(message: &M, specials: &[String]) -> Result<Value> {
    match serde_json::to_value(message) {
        Ok(Value::Object(fields)) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
            Ok(safe(&Value::Object(fields), specials))
        }
        Ok(other) => Err(Error::invalid(format!("a message must be an object, not {other}"))),
        Err(error) => Err(Error::invalid(format!("a message must be an object: {error}"))),
    }
}

/// The same value with every text protected.
fn safe(value: &Value, specials: &[String]) -> Value {
    match value {
        Value::String(text) => Value::String(protect(text, specials)),
        Value::Array(items) => items.iter().map(|item| safe(item, specials)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (protect(key, specials), safe(value, specials))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Puts the sentinel inside every text of a special token, after its first character.
fn protect(text: &str, specials: &[String]) -> String {
    let mut safe = String::with_capacity(text.len());
    for (at, character) in text.char_indices().filter(|(_, character)| *character != SENTINEL) {
        safe.push(character);
        let rest = &text[at..];
        // A message cannot hide a special token behind sentinels of its own: they are dropped before it is looked for.
        if specials.iter().any(|special| starts_with_ignoring_sentinel(rest, special)) {
            safe.push(SENTINEL);
        }
    }
    safe
}

fn starts_with_ignoring_sentinel(text: &str, special: &str) -> bool {
    let mut characters = text.chars().filter(|character| *character != SENTINEL);
    !special.is_empty() && special.chars().all(|wanted| characters.next() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_names_its_templates_or_has_one() {
        let one = json!({"chat_template": "a"});
        assert_eq!((source_in_config(&one, DEFAULT), source_in_config(&one, TOOL_USE)), (Some("a"), None));
        let named =
            json!({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]});
        assert_eq!((source_in_config(&named, DEFAULT), source_in_config(&named, TOOL_USE)), (Some("d"), Some("t")));
        assert_eq!(source_in_config(&json!({"chat_template": [{"name": "rag"}]}), DEFAULT), None);
        assert_eq!(source_in_config(&json!({}), DEFAULT), None);
    }

    #[test]
    fn values_that_clients_leave_empty_are_not_there() {
        let message = plain_message(&json!({"role": "assistant", "content": null, "tool_calls": []}), &[]).unwrap();
        assert_eq!(message, json!({"role": "assistant", "tool_calls": []}));
    }
}
