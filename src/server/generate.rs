//! What a chat or completion request asks for: every field read, checked against its range, and turned into a job.

use super::error::ApiError;
use super::fields::Fields;
use super::limits::{
    MAX_STOP_BYTES, MAX_STOPS, MAX_TOKENS, MIN_P, N, PENALTY, REPEAT_PENALTY, TEMPERATURE, TOP_K, TOP_LOGPROBS, TOP_P,
};
use super::tools::tools;
use super::work::Prompt;
use crate::cli::random_seed;
use serde_json::{Map, Value};
use trice::session::{GenerateOptions, Overflow};
use trice::text::{ChatOptions, Grammar, ReplyOptions, SamplingParams, Tools, read_messages, split_begun};

/// How tokens are chosen when the request does not say: as in `trice chat`.
const DEFAULT_SAMPLING: SamplingParams = SamplingParams {
    temperature: 0.7,
    top_k: 40,
    top_p: 0.95,
    min_p: 0.05,
    repeat_penalty: 1.0,
    repeat_last_n: 64,
    seed: 0,
};
/// Tokens of a completion when the request does not say, as OpenAI has it.
const COMPLETION_TOKENS: usize = 16;

/// Which of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completion,
}

/// How the answer is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Stream {
        /// A last event with the token counts.
        include_usage: bool,
    },
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) prompt: Prompt,
    pub(crate) options: GenerateOptions,
    /// How to tell the parts of a chat's answer apart; a completion is text and nothing else.
    pub(crate) reply: Option<ReplyOptions>,
    pub(crate) delivery: Delivery,
}

/// Reads a request; `overflow` where it does not say.
pub(crate) fn parse(endpoint: Endpoint, fields: &Fields, overflow: Overflow) -> Result<Asked, ApiError> {
    refuse_unsupported(fields)?;
    fields.integer("n", N)?;
    let mut grammar = grammar(fields)?;
    let (prompt, reply) = match endpoint {
        Endpoint::Chat => {
            let (tools, reply) = tools(fields)?;
            if grammar.is_some() && !tools.offered.is_empty() {
                let message = "response_format beside tools: an answer that is held to a format calls nothing; ask with tool_choice none";
                return Err(ApiError::invalid("response_format", message));
            }
            let messages = read_messages(fields.get("messages").unwrap_or(&Value::Null))?;
            let (template, goes_on) = (chat_options(fields, &tools)?, goes_on(fields, &messages)?);
            let reply = ReplyOptions { goes_on, ..reply };
            let prompt = Prompt::Messages { messages, template, goes_on };
            grammar = tools.forced.or(grammar);
            (prompt, Some(reply))
        }
        Endpoint::Completion => {
            fields.refuse("tools")?;
            (prompt(fields)?, None)
        }
    };
    let options = GenerateOptions {
        max_tokens: max_tokens(endpoint, fields)?,
        overflow: asked_overflow(fields)?.unwrap_or(overflow),
        sampling: sampling(fields)?,
        stop: stop(fields)?,
        grammar,
        spells_marks: reply.is_some(),
        logprobs: logprobs(endpoint, fields)?,
        ..GenerateOptions::default()
    };
    Ok(Asked { prompt, options, reply, delivery: delivery(fields)? })
}

/// Fields that would change the answer and are not acted on: saying so beats ignoring them.
fn refuse_unsupported(fields: &Fields) -> Result<(), ApiError> {
    for name in ["functions", "logit_bias", "echo", "suffix", "audio", "modalities"] {
        fields.refuse(name)?;
    }
    fields.integer("best_of", N)?;
    for name in ["presence_penalty", "frequency_penalty"] {
        if fields.number(name, PENALTY)?.is_some_and(|penalty| penalty != 0.0) {
            return Err(ApiError::unsupported(name));
        }
    }
    Ok(())
}

/// What the answer must be; `name` and `strict` of a schema change nothing, since every answer is held to it.
fn grammar(fields: &Fields) -> Result<Option<Grammar>, ApiError> {
    let wrong = |message: &str| Err(ApiError::invalid("response_format", message));
    let Some(format) = fields.get("response_format") else { return Ok(None) };
    match (format["type"].as_str(), &format["json_schema"]["schema"]) {
        (Some("text"), _) => Ok(None),
        (Some("json_object"), _) => Ok(Some(Grammar::json_object())),
        (Some("json_schema"), schema @ Value::Object(_)) => Ok(Some(Grammar::JsonSchema(schema.clone()))),
        (Some("json_schema"), _) => wrong("response_format.json_schema.schema must be an object"),
        _ => wrong("response_format.type must be text, json_object or json_schema"),
    }
}

fn sampling(fields: &Fields) -> Result<SamplingParams, ApiError> {
    let default = DEFAULT_SAMPLING;
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
    Ok(SamplingParams {
        temperature: fields.number("temperature", TEMPERATURE)?.unwrap_or(default.temperature),
        top_k: fields.integer("top_k", TOP_K)?.map_or(default.top_k, |k| k as u32),
        top_p: fields.number("top_p", TOP_P)?.unwrap_or(default.top_p),
        min_p: fields.number("min_p", MIN_P)?.unwrap_or(default.min_p),
        repeat_penalty: fields.number("repeat_penalty", REPEAT_PENALTY)?.unwrap_or(default.repeat_penalty),
        // The sampler's seed has 32 bits: both halves of the client's count.
        seed: seed.map_or_else(random_seed, |seed| (seed ^ (seed >> 32)) as u32),
        ..default
    })
}

fn max_tokens(endpoint: Endpoint, fields: &Fields) -> Result<Option<usize>, ApiError> {
    let old = fields.integer("max_tokens", MAX_TOKENS)?;
    let asked = fields.integer("max_completion_tokens", MAX_TOKENS)?.or(old);
    Ok(match (asked, endpoint) {
        (Some(tokens), _) => Some(tokens as usize),
        (None, Endpoint::Chat) => None,
        (None, Endpoint::Completion) => Some(COMPLETION_TOKENS),
    })
}

fn asked_overflow(fields: &Fields) -> Result<Option<Overflow>, ApiError> {
    let asked = fields.string("overflow")?.map(Overflow::from_name).transpose();
    asked.map_err(|error| ApiError::invalid("overflow", error.to_string()))
}

fn stop(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let stop = fields.strings("stop", MAX_STOPS)?;
    if stop.iter().any(|text| text.is_empty() || text.len() > MAX_STOP_BYTES) {
        return Err(ApiError::invalid("stop", format!("a stop text must have 1 to {MAX_STOP_BYTES} bytes")));
    }
    Ok(stop)
}

/// Chat has a switch and a count, completions have a count alone.
fn logprobs(endpoint: Endpoint, fields: &Fields) -> Result<Option<usize>, ApiError> {
    match endpoint {
        Endpoint::Completion => Ok(fields.integer("logprobs", TOP_LOGPROBS)?.map(|k| k as usize)),
        Endpoint::Chat => {
            let top = fields.integer("top_logprobs", TOP_LOGPROBS)?.unwrap_or(0) as usize;
            match fields.bool("logprobs")? {
                true => Ok(Some(top)),
                false if top == 0 => Ok(None),
                false => Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true")),
            }
        }
    }
}

fn delivery(fields: &Fields) -> Result<Delivery, ApiError> {
    let options = match fields.get("stream_options") {
        None => &Value::Null,
        Some(options @ Value::Object(_)) => options,
        Some(_) => return Err(ApiError::invalid("stream_options", "stream_options must be an object")),
    };
    let include_usage = match &options["include_usage"] {
        Value::Null => false,
        Value::Bool(include) => *include,
        _ => return Err(ApiError::invalid("stream_options", "include_usage must be true or false")),
    };
    Ok(if fields.bool("stream")? { Delivery::Stream { include_usage } } else { Delivery::Whole })
}

/// `chat_template_kwargs`, as other servers call the variables of a template: `{"enable_thinking": false}`.
fn chat_options(fields: &Fields, tools: &Tools) -> Result<ChatOptions, ApiError> {
    let variables = match fields.get("chat_template_kwargs") {
        None => Map::new(),
        Some(Value::Object(variables)) => variables.clone(),
        Some(_) => return Err(ApiError::invalid("chat_template_kwargs", "chat_template_kwargs must be an object")),
    };
    Ok(ChatOptions { tools: tools.descriptions(), variables, ..ChatOptions::default() })
}

/// `continue_final_message`, as vLLM calls it: the last message is the beginning of the answer, which goes on behind it.
fn goes_on(fields: &Fields, messages: &[Value]) -> Result<bool, ApiError> {
    let goes_on = fields.bool("continue_final_message")?;
    if goes_on && split_begun(messages).is_none() {
        let message = "continue_final_message wants an assistant's message that calls nothing, as the last of several";
        return Err(ApiError::invalid("continue_final_message", message));
    }
    Ok(goes_on)
}

/// A text, a list of one text, or token ids.
fn prompt(fields: &Fields) -> Result<Prompt, ApiError> {
    let wrong = || ApiError::invalid("prompt", "prompt must be one text, or a list of token ids");
    match fields.get("prompt") {
        Some(Value::String(text)) => Ok(Prompt::Text(text.clone())),
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(text)] => Ok(Prompt::Text(text.clone())),
            ids => {
                let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
                Ok(Prompt::Ids(ids.iter().map(|value| id(value).ok_or_else(wrong)).collect::<Result<_, _>>()?))
            }
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_chat(extra: &str) -> Result<Asked, ApiError> {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{extra}}}"#);
        parse(Endpoint::Chat, &Fields::parse(body.as_bytes())?, Overflow::Error)
    }

    #[test]
    fn fields_reach_the_engine() {
        let Asked { options, delivery, .. } = parse_chat(
            r#","temperature":0,"max_tokens":9999,"stop":"END","seed":7,"logprobs":true,"top_logprobs":3,"stream":true,
               "stream_options":{"include_usage":true}"#,
        )
        .unwrap();
        assert_eq!(options.sampling.temperature, 0.0);
        assert_eq!(options.sampling.seed, 7);
        assert_eq!(options.max_tokens, Some(9999));
        assert_eq!(options.stop, ["END"]);
        assert_eq!(options.logprobs, Some(3));
        assert_eq!(delivery, Delivery::Stream { include_usage: true });
        let Asked { prompt, .. } = parse_chat(r#","chat_template_kwargs":{"enable_thinking":false}"#).unwrap();
        let Prompt::Messages { template: options, .. } = prompt else { panic!("a conversation wanted") };
        assert_eq!(options.variables["enable_thinking"], false);
    }

    #[test]
    fn overflow_is_the_servers_unless_the_request_says() {
        let fields = |extra: &str| Fields::parse(format!(r#"{{"prompt":"hi"{extra}}}"#).as_bytes()).unwrap();
        let overflow = |extra| parse(Endpoint::Completion, &fields(extra), Overflow::Shift).unwrap().options.overflow;
        assert_eq!(overflow(""), Overflow::Shift);
        assert_eq!(overflow(r#","overflow":"truncate-middle""#), Overflow::TruncateMiddle);
    }

    #[test]
    fn a_response_format_is_a_grammar() {
        let grammar = |format: &str| parse_chat(&format!(r#","response_format":{format}"#)).unwrap().options.grammar;
        assert_eq!(grammar(r#"{"type":"text"}"#), None);
        assert_eq!(grammar(r#"{"type":"json_object"}"#), Some(Grammar::json_object()));
        let schema = grammar(r#"{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"null"}}}"#);
        assert_eq!(schema, Some(Grammar::JsonSchema(serde_json::json!({"type": "null"}))));
    }

    #[test]
    fn tools_reach_the_template_the_grammar_and_the_answer() {
        let tools = r#","tools":[{"type":"function","function":{"name":"now"}}]"#;
        let Asked { prompt, options, reply, .. } = parse_chat(tools).unwrap();
        let Prompt::Messages { template, .. } = prompt else { panic!("a conversation wanted") };
        assert_eq!((template.tools[0]["function"]["name"].as_str(), options.grammar), (Some("now"), None));
        assert_eq!(reply.unwrap().tools, ["now"]);
        let forced = parse_chat(&format!(r#"{tools},"tool_choice":"required""#)).unwrap();
        assert!(forced.options.grammar.is_some());
        let format = r#","response_format":{"type":"json_object"}"#;
        assert!(parse_chat(&format!("{tools}{format}")).is_err());
        let none = parse_chat(&format!(r#"{tools}{format},"tool_choice":"none""#)).unwrap();
        assert_eq!(none.options.grammar, Some(Grammar::json_object()));
        let completion = Fields::parse(format!(r#"{{"prompt":"hi"{tools}}}"#).as_bytes()).unwrap();
        assert!(parse(Endpoint::Completion, &completion, Overflow::Error).is_err());
    }

    #[test]
    fn every_bad_field_is_refused() {
        for extra in [
            r#""n":0"#,
            r#""chat_template_kwargs":[true]"#,
            r#""n":2"#,
            r#""n":1000000"#,
            r#""temperature":-1"#,
            r#""temperature":1e39"#,
            r#""top_p":0"#,
            r#""max_tokens":-1"#,
            r#""max_tokens":0"#,
            r#""max_tokens":4294967296"#,
            r#""max_tokens":1e3"#,
            r#""stop":"""#,
            r#""stop":[1]"#,
            r#""seed":18446744073709551616"#,
            r#""logit_bias":{"1":1}"#,
            r#""tools":[{}]"#,
            r#""presence_penalty":3"#,
            r#""presence_penalty":1"#,
            r#""top_logprobs":21"#,
            r#""response_format":{"type":"json_schema"}"#,
            r#""response_format":{"type":"json_schema","json_schema":{"schema":"object"}}"#,
            r#""response_format":{"type":"xml"}"#,
            r#""response_format":"json_object""#,
            r#""stream":1"#,
            r#""stream_options":1"#,
            r#""top_logprobs":2"#,
            r#""overflow":"wrap""#,
            r#""overflow":true"#,
            r#""continue_final_message":1"#,
            r#""continue_final_message":true"#,
        ] {
            assert!(parse_chat(&format!(",{extra}")).is_err(), "{extra}");
        }
        let stops = format!(r#","stop":[{}"a"]"#, r#""a","#.repeat(MAX_STOPS));
        assert!(parse_chat(&stops).is_err());
        let long = format!(r#","stop":"{}""#, "a".repeat(MAX_STOP_BYTES + 1));
        assert!(parse_chat(&long).is_err());
    }

    #[test]
    fn a_prompt_is_a_text_or_ids() {
        let ask = |prompt: &str| {
            let fields = Fields::parse(format!(r#"{{"prompt":{prompt}}}"#).as_bytes()).unwrap();
            parse(Endpoint::Completion, &fields, Overflow::Error).map(|asked| asked.prompt)
        };
        assert!(matches!(ask(r#""once""#), Ok(Prompt::Text(text)) if text == "once"));
        assert!(matches!(ask("[1,99]"), Ok(Prompt::Ids(ids)) if ids == [1, 99]));
        for bad in ["[4294967296]", "[-1]", r#"["a","b"]"#, "null", "1"] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }
}
