//! `trice chat`: one answer to a prompt, streamed or as JSON. The interactive loop is in `chat_turns`.

use super::args::{ChatArgs, SamplingArgs, Switch};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::texts::read_file;
use super::{Usage, chat_turns, model};
use serde::Serialize;
use serde_json::Value;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use trice::session::{FinishReason, GenerateOptions, Generation, Session};
use trice::text::reply::prompt_opens_reasoning;
use trice::text::{Call, ChatOptions, Grammar, Message, ReplyOptions, ReplyParser, ReplyPart, SamplingParams, Tools};

pub(crate) fn run(context: &Context, args: ChatArgs) -> anyhow::Result<()> {
    let sampling = args.sampling.params()?;
    let input = Input::read(&args)?;
    let tools = args.tools.as_deref().map_or(Ok(Tools::default()), read_tools)?;
    let template = chat_options(&args, &tools);
    let options = GenerateOptions {
        max_tokens: args.max_tokens.map(|n| n as usize),
        overflow: args.overflow.into(),
        sampling,
        stop: args.stop,
        grammar: grammar(args.schema.as_deref(), args.grammar.as_deref())?,
        logprobs: args.logprobs.map(usize::from),
        // What marks a call is shown too.
        spells_marks: !tools.offered.is_empty(),
        ..GenerateOptions::default()
    };
    let interrupt = Interrupt::install()?;
    let name = args.model.as_deref().unwrap_or(model::DEFAULT_DECODER);
    let mut session =
        pollster::block_on(model::load_speculating(context, name, &args.load, &args.speculate, &interrupt))?;
    if !args.raw {
        session.check_tools(&template.tools)?;
    }
    let chat = Chat { context, interrupt, raw: args.raw, template, tools };
    match input {
        Input::Terminal => chat_turns::run(&chat, &mut session, options, args.system),
        Input::Text(text) => {
            let prompt = chat.prompt(&session, &conversation(args.system, text))?;
            chat.answer_once(&mut session, &prompt, options)
        }
        Input::Ids(ids) => chat.answer_once(&mut session, &ids, options),
    }
}

/// Where the prompt comes from.
enum Input {
    /// A person types.
    Terminal,
    Text(String),
    Ids(Vec<u32>),
}

impl Input {
    fn read(args: &ChatArgs) -> anyhow::Result<Self> {
        if let Some(ids) = &args.ids {
            return Ok(Self::Ids(ids.clone()));
        }
        let text = match &args.prompt {
            Some(prompt) => prompt.clone(),
            None if io::stdin().is_terminal() => return Ok(Self::Terminal),
            None => piped_text()?,
        };
        if text.trim().is_empty() {
            return Err(Usage("the prompt is empty: give one with -p or on stdin".to_string()).into());
        }
        Ok(Self::Text(text))
    }
}

fn chat_options(args: &ChatArgs, tools: &Tools) -> ChatOptions {
    let mut options = ChatOptions { tools: tools.descriptions(), ..ChatOptions::default() };
    if let Some(thinking) = args.thinking {
        options.variables.insert("enable_thinking".to_string(), (thinking == Switch::On).into());
    }
    options
}

/// The functions of a file.
fn read_tools(path: &Path) -> anyhow::Result<Tools> {
    let name = path.display();
    let text = std::fs::read(path).map_err(|error| trice::Error::io(format!("reading {name}"), error))?;
    let wrong =
        |reason: String| trice::Error::format(name.to_string(), format!("a JSON list of tools wanted: {reason}"));
    let list: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Tools::read(&list, &Value::Null).map_err(|error| wrong(error.to_string()))?)
}

/// What answers must be, by the file of a schema or of a grammar.
fn grammar(schema: Option<&Path>, grammar: Option<&Path>) -> trice::Result<Option<Grammar>> {
    Ok(match (schema, grammar) {
        (Some(path), _) => Some(Grammar::json_schema(&path.display().to_string(), &read_file(path)?)?),
        (None, Some(path)) => Some(Grammar::Lark(read_file(path)?)),
        (None, None) => None,
    })
}

/// All of stdin, without the line end that `echo` adds.
fn piped_text() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| trice::Error::io("reading the prompt from stdin", error))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_string())
}

fn conversation(system: Option<String>, user: String) -> Vec<Message> {
    let system = system.map(|content| Message { role: "system".to_string(), content });
    system.into_iter().chain([Message { role: "user".to_string(), content: user }]).collect()
}

impl SamplingArgs {
    /// The library's parameters, checked: a value out of range is bad usage.
    fn params(&self) -> anyhow::Result<SamplingParams> {
        let params = SamplingParams {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            seed: self.seed.unwrap_or_else(random_seed),
            ..SamplingParams::default()
        };
        params.validate().map_err(|error| Usage(error.to_string()))?;
        Ok(params)
    }
}

/// A seed that differs from run to run; the standard library's hasher is seeded by the system.
pub(crate) fn random_seed() -> u32 {
    RandomState::new().hash_one("seed") as u32
}

/// What `chat --json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    answer: &'a Generation,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Call>>,
}

/// What stays the same from answer to answer.
pub(crate) struct Chat<'a> {
    pub(crate) context: &'a Context,
    pub(crate) interrupt: Interrupt,
    /// No template: the last message is continued as it stands.
    pub(crate) raw: bool,
    /// What the template is to know besides the messages.
    pub(crate) template: ChatOptions,
    /// What the model may call.
    pub(crate) tools: Tools,
}

impl Chat<'_> {
    /// The prompt's token ids: through the model's template, or raw when asked for or where there is no template.
    pub(crate) fn prompt(&self, session: &Session, messages: &[Message]) -> anyhow::Result<Vec<u32>> {
        let last = messages.last().map(|message| message.content.as_str()).unwrap_or_default();
        if self.raw {
            return Ok(session.raw_prompt(last)?);
        }
        match session.chat_prompt(messages, &self.template) {
            Err(trice::Error::Unsupported { .. }) => {
                self.context.note("note: this model has no chat template; it continues your text as it stands");
                Ok(session.raw_prompt(last)?)
            }
            prompt => Ok(prompt?),
        }
    }

    fn answer_once(&self, session: &mut Session, prompt: &[u32], options: GenerateOptions) -> anyhow::Result<()> {
        match self.answer(session, prompt, options)?.finish_reason {
            FinishReason::Cancelled => Err(trice::Error::Cancelled.into()),
            FinishReason::Stop | FinishReason::Length => Ok(()),
        }
    }

    /// Generates one answer and prints it: as it comes, or as one JSON object. Ctrl-C ends it early.
    pub(crate) fn answer(
        &self,
        session: &mut Session,
        prompt: &[u32],
        mut options: GenerateOptions,
    ) -> anyhow::Result<Generation> {
        options.cancel = self.interrupt.arm();
        let streaming = self.context.output == Output::Text;
        let mut written = Ok(());
        let mut on_piece = |text: &str| {
            if streaming {
                written = write_piece(text);
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let answer = pollster::block_on(session.generate(prompt, &options, &mut |piece| on_piece(piece.text)));
        written?;
        if streaming {
            self.context.print("")?;
        }
        let answer = answer?;
        if answer.dropped_tokens > 0 {
            let (context_len, n) = (session.info().context_len, answer.dropped_tokens);
            self.context.note(&format!("note: the context of {context_len} tokens was full: {n} tokens were left out"));
        }
        match self.context.output {
            Output::Json => self
                .context
                .print_json(&Answer { tool_calls: self.calls(session, prompt, &answer.text), answer: &answer })?,
            Output::Text => self.note_speed(&answer),
        }
        Ok(answer)
    }

    /// The functions that an answer calls, where it may call any.
    fn calls(&self, session: &Session, prompt: &[u32], text: &str) -> Option<Vec<Call>> {
        let tools = self.tools.names();
        if tools.is_empty() {
            return None;
        }
        let is_reasoning = prompt_opens_reasoning(session.tokenizer(), prompt);
        let mut parser = ReplyParser::new(ReplyOptions { tools, is_reasoning, ..ReplyOptions::default() });
        let parts = parser.push(text).into_iter().chain(parser.finish());
        let call = |part| match part {
            ReplyPart::Call(call) => Some(call),
            ReplyPart::Reasoning(_) | ReplyPart::Content(_) => None,
        };
        Some(parts.filter_map(call).collect())
    }

    fn note_speed(&self, answer: &Generation) {
        if self.context.shows_progress() {
            let timings = &answer.timings;
            let (first, rate) = (timings.prefill_ms / 1000.0, timings.decode_tokens_per_s);
            let drafts = match (timings.accepted_tokens, timings.drafted_tokens) {
                (_, 0) => String::new(),
                (right, all) => format!(", {right} of {all} guesses right"),
            };
            let n = answer.tokens.len();
            self.context.note(&format!("[{n} tokens, {rate:.1} tokens/s, first after {first:.2} s{drafts}]"));
        }
    }
}

fn write_piece(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
