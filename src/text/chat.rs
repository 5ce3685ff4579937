//! Messages to prompt through the model's own Jinja template. The template comes with the model and is not trusted: its
//! size, its expressions and its running are bounded. Holds no template of its own.

use super::tokenizer::{SENTINEL, Tokenizer};
use super::{date, precheck};
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::format::checkpoint::Config;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;

/// Bytes of a template; the largest real ones have about 20 KB.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Operators in one `{{ … }}` or `{% … %}`: the parser recurses once per chained operator without counting.
const MAX_OPERATORS: usize = 200;
/// `elif` branches in a template, for the same reason.
const MAX_ELIF: usize = 200;
/// Instructions that rendering may take.
const FUEL: u64 = 200_000;
/// Bytes of a rendered prompt.
const MAX_PROMPT_BYTES: usize = 16 << 20;
/// Marks the errors that a template raises itself.
const RAISED: &str = "the model's template refuses the messages: ";

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
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatOptions {
    /// How the prompt ends.
    pub end: PromptEnd,
    /// Seconds since 1970 for templates that print the date; without it they print their own default, or fail.
    pub now: Option<u64>,
}

/// A compiled chat template.
pub struct ChatTemplate {
    name: String,
    environment: Environment<'static>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Compiles a template; `name` is what to call it in messages.
    pub fn new(source: &str, name: &str) -> Result<Self> {
        check(source, name)?;
        let mut environment = Environment::new();
        environment.set_syntax(syntax(name)?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
        });
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned("chat", source.to_owned())
            .map_err(|error| Error::format(name, format!("its chat template does not compile: {error}")))?;
        Ok(Self { name: name.to_owned(), environment })
    }

    /// The template of an opened model; none when the model has none.
    pub async fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let source = Self::source(checkpoint).await?;
        source.map(|(source, name)| Self::new(&source, &name)).transpose()
    }

    /// The text of an opened model's template and what to call it: a GGUF's own, else `chat_template.jinja`, else the one in
    /// `tokenizer_config.json`.
    pub async fn source(checkpoint: &Checkpoint) -> Result<Option<(String, String)>> {
        if let Config::Gguf(metadata) = checkpoint.config() {
            let source = metadata.string("tokenizer.chat_template");
            return Ok(source.map(|source| (source.to_owned(), checkpoint.name().to_owned())));
        }
        let name = "chat_template.jinja";
        if let Some(bytes) = checkpoint.side_text(name).await? {
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), name.to_owned())));
        }
        let name = "tokenizer_config.json";
        let Some(bytes) = checkpoint.side_text(name).await? else { return Ok(None) };
        let config = precheck::parse(name, &bytes)?;
        Ok(source_in_config(&config).map(|source| (source.to_owned(), name.to_owned())))
    }

    /// The prompt for these messages. Texts of special tokens inside messages stay text: give the result to
    /// `Tokenizer::encode_prompt`, which knows the marks that keep them so.
    pub fn render(&self, messages: &[Message], tokenizer: &Tokenizer, options: &ChatOptions) -> Result<String> {
        let specials = tokenizer.special_tokens();
        let safe = |text: &str| protect(text, specials);
        let messages: Vec<Message> = messages
            .iter()
            .map(|message| Message { role: safe(&message.role), content: safe(&message.content) })
            .collect();
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default();
        let mut environment = self.environment.clone();
        if let Some(now) = options.now {
            environment.add_function("strftime_now", move |format: String| date::strftime(&format, now));
        }
        let template = environment.get_template("chat").map_err(|error| self.failed(&error))?;
        let rendered = template.render(context! {
            messages => Serde(messages),
            bos_token => text(tokenizer.bos()),
            eos_token => text(tokenizer.eos()),
            add_generation_prompt => options.end == PromptEnd::Answer,
            tools => (),
            documents => (),
        });
        let prompt = rendered.map_err(|error| self.failed(&error))?;
        if prompt.len() > MAX_PROMPT_BYTES {
            let (needed, available) = (prompt.len() as u64, MAX_PROMPT_BYTES as u64);
            return Err(Error::Limit { what: "bytes of a prompt".to_owned(), needed, available });
        }
        Ok(prompt)
    }

    fn failed(&self, error: &minijinja::Error) -> Error {
        match error.detail() {
            Some(detail) if detail.starts_with(RAISED) => Error::invalid(detail),
            _ => Error::format(&self.name, format!("its chat template fails: {error}")),
        }
    }
}

/// Lines that hold only a block leave nothing behind: what all templates are written for.
fn syntax(name: &str) -> Result<SyntaxConfig> {
    let config = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    config.map_err(|error| Error::format(name, format!("its chat template cannot be set up: {error}")))
}

/// JSON as templates are written for, which is Python's: spaces after `,` and `:`, nothing escaped for HTML.
fn to_json(value: &minijinja::Value, options: Kwargs) -> Result<minijinja::Value, minijinja::Error> {
    let failed = |error| minijinja::Error::new(ErrorKind::BadSerialization, "tojson").with_source(error);
    let mut json = Vec::new();
    match options.get::<Option<usize>>("indent")? {
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, PythonFormatter)),
    }
    .map_err(failed)?;
    Ok(minijinja::Value::from_safe_string(String::from_utf8_lossy(&json).into_owned()))
}

/// `json.dumps` without arguments.
struct PythonFormatter;

impl serde_json::ser::Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `chat_template` as a text or as a list of named ones, of which `default` is meant.
fn source_in_config(config: &Value) -> Option<&str> {
    let template = config.get("chat_template")?;
    let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some("default");
    template.as_str().or_else(|| precheck::list(Some(template)).iter().find(named)?.get("template")?.as_str())
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

/// Refuses templates that would overflow the stack of the parser, by counting what it does not count.
fn check(source: &str, name: &str) -> Result<()> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(Error::Limit {
            what: format!("{name}: bytes of a chat template"),
            needed: source.len() as u64,
            available: MAX_TEMPLATE_BYTES as u64,
        });
    }
    let (mut rest, mut n_elif) = (source, 0);
    while let Some(open) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let (n_operators, end) = scan_block(&rest[open + 2..]);
        let block = &rest[open + 2..open + 2 + end];
        n_elif += usize::from(block.trim_start_matches(['-', '+']).trim_start().starts_with("elif"));
        if n_operators > MAX_OPERATORS || n_elif > MAX_ELIF {
            let reason = format!("its chat template chains more than {MAX_OPERATORS} operators or branches");
            return Err(Error::format(name, reason));
        }
        rest = &rest[open + 2 + end..];
    }
    Ok(())
}

/// Operators outside texts up to the end of the block, and where it ends.
fn scan_block(block: &str) -> (usize, usize) {
    let bytes = block.as_bytes();
    let (mut n_operators, mut at, mut quote) = (0, 0, None);
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(_) if byte == b'\\' => at += 1,
            Some(mark) if byte == mark => quote = None,
            Some(_) => {}
            None if block.as_bytes()[at..].starts_with(b"}}") || bytes[at..].starts_with(b"%}") => break,
            None if byte == b'\'' || byte == b'"' => quote = Some(byte),
            None if b"-+*/%~|.[(<>=!".contains(&byte) => n_operators += 1,
            None if is_word_operator(bytes, at) => n_operators += 1,
            None => {}
        }
        at += 1;
    }
    let mut end = at.min(bytes.len());
    while !block.is_char_boundary(end) {
        end += 1;
    }
    (n_operators, end)
}

/// Whether `not`, `and`, `or`, `is`, `in` or `if` stands at `at` as a word.
fn is_word_operator(bytes: &[u8], at: usize) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if at > 0 && is_word(&bytes[at - 1]) {
        return false;
    }
    ["not", "and", "or", "is", "in", "if"]
        .iter()
        .any(|word| bytes[at..].starts_with(word.as_bytes()) && !bytes.get(at + word.len()).is_some_and(is_word))
}
