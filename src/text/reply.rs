//! What an answer is made of, told apart while it streams: reasoning, content, and calls of functions, in the ways in which
//! families of models write them. Holds no template and no grammar.

use super::stream::{TextStream, overlap};
use super::tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::{Value, json};

const THINK: &str = "<think>";
const THOUGHT: &str = "</think>";
/// Tokens at the end of a prompt among which `<think>` is looked for, where it is spelled letter by letter.
const TAIL_TOKENS: usize = 16;

/// How a family of models writes calls: JSON with a `name` and `arguments` or `parameters`, or a list of those.
#[derive(Debug, PartialEq, Eq)]
struct Style {
    open: &'static str,
    close: &'static str,
}

const HERMES: Style = Style { open: "<tool_call>", close: "</tool_call>" };
const MISTRAL: Style = Style { open: "[TOOL_CALLS]", close: "" };
/// Later ones write `name[ARGS]{…}`, and may put `[CALL_ID]` and an id behind the name.
const MISTRAL_ARGUMENTS: &str = "[ARGS]";
const MISTRAL_ID: &str = "[CALL_ID]";
/// Llama 3 leaves its mark out as often as not, and puts semicolons between calls.
const LLAMA: Style = Style { open: "<|python_tag|>", close: ";" };
const LLAMA_BARE: Style = Style { open: "", close: ";" };

/// The styles that a mark tells of.
const MARKED: [&Style; 3] = [&HERMES, &MISTRAL, &LLAMA];

/// Texts that structure an answer. In some vocabularies they are special tokens, which otherwise have no text.
pub(super) const MARKS: [&str; 8] =
    [THINK, THOUGHT, HERMES.open, HERMES.close, MISTRAL.open, MISTRAL_ARGUMENTS, MISTRAL_ID, LLAMA.open];

/// A part of an answer. What follows a part of the same kind continues it, but for calls, which are whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyPart {
    /// What the model thinks before it answers.
    Reasoning(String),
    /// What it says.
    Content(String),
    /// A function that it calls.
    Call(Call),
}

/// A function that a model calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

/// What is known of an answer before it begins.
#[derive(Clone, Debug, Default)]
pub struct ReplyOptions {
    /// The prompt ends inside a thought (`prompt_opens_reasoning`).
    pub is_reasoning: bool,
    /// The answer goes on behind a beginning: its first space belongs to it.
    pub goes_on: bool,
    /// Names of the functions that the model may call. Without any, what looks like a call is text.
    pub tools: Vec<String>,
    /// Drops calls after the first.
    pub one_call: bool,
}

/// Where in an answer the parser is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing but space has come.
    Begin,
    Reasoning,
    Content,
    /// What is held begins with a call, or what looks like one.
    Call(&'static Style),
    /// Behind a call.
    Called(&'static Style),
}

/// Tells the parts of an answer apart, however its text is cut into pieces. Text that may be the beginning of a mark or of a call is
/// held back; what turns out to be no call after all is content, to the letter.
#[derive(Clone, Debug)]
pub struct ReplyParser {
    options: ReplyOptions,
    state: State,
    /// Text that is not told yet.
    held: String,
    /// Space that comes next belongs to no part.
    trims: bool,
    has_content: bool,
    has_call: bool,
    /// Bytes of `held` that were found to be an incomplete call.
    n_incomplete: usize,
}

impl ReplyParser {
    /// At the beginning of an answer.
    pub fn new(options: ReplyOptions) -> Self {
        let state = match (options.is_reasoning, options.goes_on) {
            (true, _) => State::Reasoning,
            (false, true) => State::Content,
            (false, false) => State::Begin,
        };
        let trims = options.is_reasoning && !options.goes_on;
        Self { options, state, held: String::new(), trims, has_content: false, has_call: false, n_incomplete: 0 }
    }

    /// Takes a piece of the answer's text and returns what it is sure of by now.
    pub fn push(&mut self, text: &str) -> Vec<ReplyPart> {
        self.held.push_str(text);
        self.advance(false)
    }

    /// What was held back when the answer has ended.
    pub fn finish(&mut self) -> Vec<ReplyPart> {
        self.advance(true)
    }

    fn advance(&mut self, is_end: bool) -> Vec<ReplyPart> {
        let mut parts = Vec::new();
        while self.step(is_end, &mut parts) {}
        parts
    }

    /// Goes on as far as one state does; whether there is another to go on with.
    fn step(&mut self, is_end: bool, parts: &mut Vec<ReplyPart>) -> bool {
        if self.trims {
            self.held.drain(..self.held.len() - self.held.trim_start().len());
            self.trims = self.held.is_empty();
        }
        match self.state {
            State::Begin => self.begin(is_end),
            State::Reasoning => self.reason(is_end, parts),
            State::Content => self.say(is_end, parts),
            State::Call(style) => self.call(style, is_end, parts),
            State::Called(style) => self.called(style, is_end),
        }
    }

    fn begin(&mut self, is_end: bool) -> bool {
        let rest = self.held.trim_start();
        if let Some(thought) = rest.strip_prefix(THINK) {
            self.held = thought.to_owned();
            (self.state, self.trims) = (State::Reasoning, true);
            return true;
        }
        if !is_end && THINK.starts_with(rest) {
            return false;
        }
        self.state = State::Content;
        true
    }

    fn reason(&mut self, is_end: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let end = self.held.find(THOUGHT);
        let sure = end.unwrap_or(self.held.len() - if is_end { 0 } else { overlap(&self.held, THOUGHT) });
        // A thought that was cut may go on: its space stays.
        let is_cut = is_end && end.is_none();
        let thought = if is_cut { &self.held } else { self.held[..sure].trim_end() }.to_owned();
        self.held.drain(..if end.is_some() { sure + THOUGHT.len() } else { thought.len() });
        if !thought.is_empty() {
            parts.push(ReplyPart::Reasoning(thought));
        }
        if end.is_some() {
            (self.state, self.trims) = (State::Content, true);
        }
        end.is_some()
    }

    fn say(&mut self, is_end: bool, parts: &mut Vec<ReplyPart>) -> bool {
        if self.options.tools.is_empty() {
            self.emit(self.held.len(), parts);
            return false;
        }
        if !self.has_content && self.held.trim_start().starts_with('{') {
            self.state = State::Call(&LLAMA_BARE);
            return true;
        }
        let marks = MARKED.iter().filter_map(|style| Some((self.held.find(style.open)?, *style)));
        if let Some((at, style)) = marks.min_by_key(|(at, _)| *at) {
            self.emit(self.held[..at].trim_end().len(), parts);
            self.state = State::Call(style);
            return true;
        }
        // The space before a call is not part of the content either.
        let mark = MARKED.iter().map(|style| overlap(&self.held, style.open)).max().unwrap_or(0);
        let sure = self.held[..self.held.len() - mark].trim_end().len();
        self.emit(if is_end { self.held.len() } else { sure }, parts);
        false
    }

    fn call(&mut self, style: &'static Style, is_end: bool, parts: &mut Vec<ReplyPart>) -> bool {
        if !is_end && !self.held[self.n_incomplete..].contains(['}', ']']) {
            return false;
        }
        let from = self.held.find(style.open).map_or(0, |at| at + style.open.len());
        let found = if *style == MISTRAL { mistral_value(&self.held[from..]) } else { first_value(&self.held[from..]) };
        let calls = match found {
            Json::Incomplete if !is_end => {
                self.n_incomplete = self.held.len();
                return false;
            }
            Json::Value(value, n_bytes) => self.calls(value, style).map(|calls| (calls, from + n_bytes)),
            Json::Incomplete | Json::Nothing => None,
        };
        self.n_incomplete = 0;
        match calls {
            Some((calls, end)) => {
                self.held.drain(..end);
                for call in calls {
                    if !(self.options.one_call && self.has_call) {
                        parts.push(ReplyPart::Call(call));
                    }
                    self.has_call = true;
                }
                self.state = State::Called(style);
            }
            None => {
                self.emit(from, parts);
                (self.state, self.has_content) = (State::Content, true);
            }
        }
        true
    }

    fn called(&mut self, style: &'static Style, is_end: bool) -> bool {
        let rest = self.held.trim_start();
        match rest.strip_prefix(style.close) {
            Some(after) => self.held = after.to_owned(),
            None if !is_end && style.close.starts_with(rest) => return false,
            None => {}
        }
        (self.state, self.trims) = (State::Content, true);
        true
    }

    /// The first `n_bytes` of what is held are content.
    fn emit(&mut self, n_bytes: usize, parts: &mut Vec<ReplyPart>) {
        if n_bytes > 0 {
            self.has_content |= !self.held[..n_bytes].trim().is_empty();
            parts.push(ReplyPart::Content(self.held.drain(..n_bytes).collect()));
        }
    }

    /// The calls that a value stands for. Without a mark it is one only of a function that there is.
    fn calls(&self, value: Value, style: &Style) -> Option<Vec<Call>> {
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        let calls = values.iter().map(call_of).collect::<Option<Vec<_>>>()?;
        let is_known = |call: &Call| *style != LLAMA_BARE || self.options.tools.contains(&call.name);
        (!calls.is_empty() && calls.iter().all(is_known)).then_some(calls)
    }
}

fn call_of(value: &Value) -> Option<Call> {
    let name = value.get("name")?.as_str()?.to_owned();
    let arguments = match value.get("arguments").or_else(|| value.get("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(object @ Value::Object(_)) => object.to_string(),
        // Written as OpenAI's clients see them: JSON in a text.
        Some(Value::String(text)) => serde_json::from_str::<Value>(text).ok().filter(Value::is_object)?.to_string(),
        Some(_) => return None,
    };
    Some(Call { name, arguments })
}

/// What JSON a text begins with.
enum Json {
    /// An object or a list, and the bytes before its end.
    Value(Value, usize),
    /// Nothing yet, or a part.
    Incomplete,
    Nothing,
}

fn first_value(text: &str) -> Json {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    match values.next() {
        Some(Ok(value @ (Value::Object(_) | Value::Array(_)))) => Json::Value(value, values.byte_offset()),
        None => Json::Incomplete,
        Some(Err(error)) if error.is_eof() => Json::Incomplete,
        Some(_) => Json::Nothing,
    }
}

/// A Mistral's list of calls; one whose name stands before its arguments, as if it were written like the others.
fn mistral_value(text: &str) -> Json {
    let start = text.trim_start();
    if start.is_empty() || start.starts_with(['[', '{']) {
        return first_value(text);
    }
    let (head, arguments) = text.split_once(MISTRAL_ARGUMENTS).unwrap_or((text, ""));
    let name = head.split(MISTRAL_ID).next().unwrap_or_default().trim();
    match first_value(arguments) {
        _ if name.contains(char::is_whitespace) => Json::Nothing,
        Json::Value(arguments, n_bytes) => {
            let n_before = head.len() + MISTRAL_ARGUMENTS.len();
            Json::Value(json!({"name": name, "arguments": arguments}), n_before + n_bytes)
        }
        other => other,
    }
}

/// Whether a prompt ends inside a thought: some templates write `<think>` themselves.
pub fn prompt_opens_reasoning(tokenizer: &Tokenizer, prompt: &[u32]) -> bool {
    let mut stream = TextStream::spelling_marks(tokenizer);
    let tail = &prompt[prompt.len().saturating_sub(TAIL_TOKENS)..];
    tail.iter().map(|id| stream.push(*id)).collect::<String>().trim_end().ends_with(THINK)
}

/// What an answer begins with that thought and said so much before it was cut. It goes on inside the thought where nothing was said yet.
/// `opens_reasoning`: the prompt ends inside a thought.
pub fn begun_answer(opens_reasoning: bool, thought: &str, said: &str) -> String {
    let open = if opens_reasoning || thought.is_empty() { String::new() } else { format!("{THINK}\n") };
    let is_closed = !said.is_empty() && (opens_reasoning || !thought.is_empty());
    let close = if is_closed { format!("\n{THOUGHT}\n\n") } else { String::new() };
    format!("{open}{thought}{close}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ReplyOptions {
        ReplyOptions { tools: vec!["weather".to_owned(), "now".to_owned()], ..ReplyOptions::default() }
    }

    fn reasoning(text: &str) -> ReplyPart {
        ReplyPart::Reasoning(text.to_owned())
    }

    fn content(text: &str) -> ReplyPart {
        ReplyPart::Content(text.to_owned())
    }

    fn call(name: &str, arguments: &str) -> ReplyPart {
        ReplyPart::Call(Call { name: name.to_owned(), arguments: arguments.to_owned() })
    }

    fn parts<'t>(options: &ReplyOptions, pieces: impl IntoIterator<Item = &'t str>) -> Vec<ReplyPart> {
        let mut parser = ReplyParser::new(options.clone());
        let mut parts: Vec<ReplyPart> = Vec::new();
        let mut add = |part: ReplyPart| match (parts.last_mut(), part) {
            (Some(ReplyPart::Content(text)), ReplyPart::Content(more)) => text.push_str(&more),
            (Some(ReplyPart::Reasoning(text)), ReplyPart::Reasoning(more)) => text.push_str(&more),
            (_, part) => parts.push(part),
        };
        pieces.into_iter().flat_map(|piece| parser.push(piece)).for_each(&mut add);
        parser.finish().into_iter().for_each(&mut add);
        parts
    }

    /// Cut anywhere into two or three pieces, or into its characters, the text means the same.
    fn check(options: &ReplyOptions, text: &str, wanted: &[ReplyPart]) {
        assert_eq!(parts(options, [text]), wanted, "{text:?}");
        let characters: Vec<&str> = text.split_inclusive(|_| true).collect();
        assert_eq!(parts(options, characters), wanted, "{text:?} by characters");
        let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for (i, first) in cuts.iter().enumerate() {
            for second in &cuts[i..] {
                let pieces = [&text[..*first], &text[*first..*second], &text[*second..]];
                assert_eq!(parts(options, pieces), wanted, "{pieces:?}");
            }
        }
    }

    #[test]
    fn calls_are_found_in_every_style() {
        let weather = call("weather", r#"{"city":"Zürich"}"#);
        let both = [weather.clone(), call("now", "{}")];
        for text in [
            "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Zürich\"}}\n</tool_call>",
            "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Zürich\"}}]",
            "[TOOL_CALLS]weather[ARGS]{\"city\": \"Zürich\"}",
            "[TOOL_CALLS] weather[CALL_ID]a b[ARGS] {\"city\": \"Zürich\"}",
            "<|python_tag|>{\"name\": \"weather\", \"parameters\": {\"city\": \"Zürich\"}}",
            " {\"type\": \"function\", \"name\": \"weather\", \"parameters\": {\"city\": \"Zürich\"}}",
            r#"{"name":"weather","arguments":"{\"city\":\"Zürich\"}"}"#,
        ] {
            check(&options(), text, &both[..1]);
        }
        for text in [
            "<tool_call>{\"name\":\"weather\",\"arguments\":{\"city\":\"Zürich\"}}</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call>\n",
            "[TOOL_CALLS][{\"name\":\"weather\",\"arguments\":{\"city\":\"Zürich\"},\"id\":\"a\"},{\"name\":\"now\",\"arguments\":{}}]",
            "[TOOL_CALLS]weather[ARGS]{\"city\":\"Zürich\"}[TOOL_CALLS]now[ARGS]{}",
            "{\"name\":\"weather\",\"parameters\":{\"city\":\"Zürich\"}}; {\"name\":\"now\",\"parameters\":{}}",
        ] {
            check(&options(), text, &both);
            check(&ReplyOptions { one_call: true, ..options() }, text, &both[..1]);
        }
    }

    #[test]
    fn content_around_calls_is_kept() {
        let text = "Let me see.\n\n<tool_call>{\"name\":\"now\",\"arguments\":{\"of\":[\"}\",\"</tool_call>\"]}}</tool_call>\n Done. ";
        let wanted = [content("Let me see."), call("now", r#"{"of":["}","</tool_call>"]}"#), content("Done. ")];
        check(&options(), text, &wanted);
        check(&options(), "<tool_call>{\"name\":\"now\"} what", &[call("now", "{}"), content("what")]);
    }

    #[test]
    fn what_is_no_call_is_content_to_the_letter() {
        for text in [
            "",
            "  plain < text [TOOL and <tool_ here \n",
            "{\"name\": \"Ada\", \"born\": 1815}",
            "{\"name\": \"nobody\", \"arguments\": {}}",
            " {name} is a place",
            "{\"name\": \"weather\", \"arguments\": {\"ci",
            "a\n<tool_call>\nnot JSON</tool_call> ",
            "<tool_call>{\"name\": \"weather\", \"arguments\": 3}</tool_call>",
            "<tool_call>{\"name\": \"weather\", \"arguments\": \"no JSON\"}</tool_call>",
            "<|python_tag|>print([1, 2])",
            "[TOOL_CALLS][]",
            "[TOOL_CALLS]",
            "[TOOL_CALLS]now",
            "[TOOL_CALLS]now what[ARGS]{}",
            "[TOOL_CALLS]now[ARGS][1]",
            "[TOOL_CALLS]now[ARGS] {\"a",
            "a <think>b</think>",
        ] {
            let wanted: Vec<ReplyPart> = Some(content(text)).filter(|_| !text.is_empty()).into_iter().collect();
            check(&options(), text, &wanted);
        }
        let written = "<tool_call>{\"name\":\"weather\",\"arguments\":{}}</tool_call>";
        check(&ReplyOptions::default(), written, &[content(written)]);
        check(
            &options(),
            "<tool_call>no <tool_call>{\"name\":\"now\"}</tool_call>",
            &[content("<tool_call>no"), call("now", "{}")],
        );
    }

    #[test]
    fn reasoning_comes_before_the_answer() {
        let thought = [reasoning("Two is\n less."), content("Yes.\n")];
        check(&ReplyOptions::default(), "\n<think>\nTwo is\n less.\n</think>\n\nYes.\n", &thought);
        let open = ReplyOptions { is_reasoning: true, ..options() };
        check(&open, "\nTwo is\n less. </think> Yes.\n", &thought);
        check(&open, "Two </thin\n", &[reasoning("Two </thin\n")]);
        check(&open, "</think>\n{\"name\":\"now\"}", &[call("now", "{}")]);
        check(&options(), "<think>\n\n</think>\n\nYes", &[content("Yes")]);
        let called = "<think>a <tool_call></think><tool_call>{\"name\":\"now\"}</tool_call>";
        check(&options(), called, &[reasoning("a <tool_call>"), call("now", "{}")]);
    }

    #[test]
    fn a_cut_answer_begins_where_it_was() {
        for (opens, thought, said, wanted) in [
            (false, "", "", ""),
            (false, "", "Yes", "Yes"),
            (false, "Two", "", "<think>\nTwo"),
            (false, "Two", "Yes", "<think>\nTwo\n</think>\n\nYes"),
            (true, "", "", ""),
            (true, "Two", "", "Two"),
            (true, "", "Yes", "\n</think>\n\nYes"),
            (true, "Two", "Yes", "Two\n</think>\n\nYes"),
        ] {
            assert_eq!(begun_answer(opens, thought, said), wanted);
        }
    }

    #[test]
    fn what_goes_on_keeps_its_space() {
        let goes_on = |is_reasoning| ReplyOptions { is_reasoning, goes_on: true, ..options() };
        check(&goes_on(true), " is\n4.\n</think>\n\nYes", &[reasoning(" is\n4."), content("Yes")]);
        check(&goes_on(false), " is 4. <think>", &[content(" is 4. <think>")]);
    }

    #[test]
    fn content_streams_as_it_comes() {
        let mut parser = ReplyParser::new(options());
        assert_eq!(parser.push("Hello"), [content("Hello")]);
        assert_eq!(parser.push(" you <"), [content(" you")]);
        assert_eq!(parser.push("3"), [content(" <3")]);
        assert_eq!(parser.push("<tool_call>{\"name\":\"now\"}"), [call("now", "{}")]);
    }
}
