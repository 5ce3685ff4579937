//! Answers under a grammar: always what the grammar says, whatever the model, alone and beside others.

mod schemas;
mod surfaces;

use crate::common::gpu::{block_on, open_bytes, test_gpu};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use trice::format::Checkpoint;
use trice::session::{
    Batch, FinishReason, GenerateOptions, Generation, LoadOptions, Overflow, Session, Speculate, Ticket,
};
use trice::text::{Grammar, SamplingParams};
use trice::{Error, Result};

fn stories() -> Checkpoint {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap())
}

/// The built-in model with room for `parallel` answers; none without a GPU.
fn session(parallel: usize) -> Option<Session> {
    load(LoadOptions { parallel: Some(parallel), ..LoadOptions::default() })
}

fn load(options: LoadOptions) -> Option<Session> {
    Some(block_on(Session::load(&test_gpu()?, &stories(), &options, &mut |_| {})).unwrap())
}

fn regex(pattern: &str) -> Grammar {
    Grammar::Regex(pattern.to_owned())
}

/// A greedy answer.
fn greedy(grammar: Grammar) -> GenerateOptions {
    GenerateOptions { grammar: Some(grammar), max_tokens: Some(200), ..GenerateOptions::default() }
}

/// A drawn answer, of any token that may come.
fn drawn(grammar: Grammar, seed: u32) -> GenerateOptions {
    let sampling = SamplingParams { temperature: 1.0, seed, ..SamplingParams::default() };
    GenerateOptions { sampling, ..greedy(grammar) }
}

fn ask(session: &mut Session, options: &GenerateOptions) -> Result<Generation> {
    let prompt = session.raw_prompt("Once upon a time").unwrap();
    block_on(session.generate(&prompt, options, &mut |_| ControlFlow::Continue(())))
}

/// The answers of all requests at once, in order.
fn ask_all(session: &mut Session, requests: &[GenerateOptions]) -> Vec<Generation> {
    let prompt = session.raw_prompt("Once upon a time").unwrap();
    let mut batch = Batch::new(session);
    let mut waiting = requests.iter();
    let (mut tickets, mut ended): (Vec<Ticket>, Vec<_>) = (Vec::new(), Vec::new());
    loop {
        while batch.has_room()
            && let Some(options) = waiting.next()
        {
            tickets.push(batch.admit(&prompt, options, Box::new(|_| ControlFlow::Continue(()))).unwrap());
        }
        if batch.is_empty() {
            break;
        }
        ended.extend(block_on(batch.step()).unwrap());
    }
    let answer = |ticket: &Ticket| ended.iter().position(|(known, _)| known == ticket).unwrap();
    let mut by_ticket: Vec<_> = tickets.iter().map(answer).collect();
    let mut answers: Vec<Option<Generation>> = ended.into_iter().map(|(_, answer)| Some(answer.unwrap())).collect();
    by_ticket.drain(..).map(|at| answers[at].take().unwrap()).collect()
}

#[test]
fn answers_are_what_the_grammar_says() {
    let Some(mut session) = session(1) else { return };
    let lark = "start: animal \" and \" animal\nanimal: \"a \" (\"cat\" | \"dog\")".to_owned();
    for seed in 0..6 {
        let phone = ask(&mut session, &drawn(regex("[0-9]{3}-[0-9]{4}"), seed)).unwrap();
        let parts: Vec<&str> = phone.text.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [3, 4], "{}", phone.text);
        assert!(phone.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'), "{}", phone.text);
        let pair = ask(&mut session, &drawn(Grammar::Lark(lark.clone()), seed)).unwrap();
        let animals: Vec<&str> = pair.text.split(" and ").collect();
        assert!(animals.len() == 2 && animals.iter().all(|one| ["a cat", "a dog"].contains(one)), "{}", pair.text);
        assert_eq!((phone.finish_reason, pair.finish_reason), (FinishReason::Stop, FinishReason::Stop));
    }
}

/// The model would never say it: every byte is a choice of one.
#[test]
fn any_text_can_be_forced() {
    let Some(mut session) = session(1) else { return };
    for text in ["Zürich, 日本 🫠", "{\"a\": \"\\n\"}", " two  spaces ", "x"] {
        let one = json!({"const": text});
        let answer = ask(&mut session, &greedy(Grammar::JsonSchema(one))).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&answer.text).unwrap(), json!(text), "{}", answer.text);
        assert_eq!(answer.finish_reason, FinishReason::Stop);
    }
}

#[test]
fn a_limit_of_tokens_cuts_a_value_and_says_so() {
    let Some(mut session) = session(1) else { return };
    let way = json!({"word": {"const": "a long way to go"}});
    let schema = json!({"type": "object", "properties": way, "required": ["word"], "additionalProperties": false});
    let whole = ask(&mut session, &greedy(Grammar::JsonSchema(schema.clone()))).unwrap();
    let n = whole.tokens.len();
    assert_eq!(whole.text, r#"{"word": "a long way to go"}"#);
    let limited =
        |max_tokens| GenerateOptions { max_tokens: Some(max_tokens), ..greedy(Grammar::JsonSchema(schema.clone())) };
    let cut = ask(&mut session, &limited(n - 1)).unwrap();
    assert_eq!((cut.finish_reason, &cut.tokens[..]), (FinishReason::Length, &whole.tokens[..n - 1]));
    let exact = ask(&mut session, &limited(n)).unwrap();
    assert_eq!((exact.finish_reason, exact.text), (FinishReason::Stop, whole.text));
}

/// The end token comes only where the answer may end.
#[test]
fn the_model_ends_where_it_may() {
    let Some(mut session) = session(1) else { return };
    for seed in 0..6 {
        let answer = ask(&mut session, &drawn(regex("(ab){2,40}"), seed)).unwrap();
        let n = answer.text.len() / 2;
        assert_eq!(answer.text, "ab".repeat(n), "{}", answer.text);
        assert!((2..=40).contains(&n) && answer.finish_reason == FinishReason::Stop, "{}", answer.text);
    }
}

#[test]
fn company_changes_no_answer() {
    let Some(mut session) = session(4) else { return };
    let free = |seed| GenerateOptions { max_tokens: Some(30), grammar: None, ..drawn(regex("a"), seed) };
    let requests = [
        drawn(regex("[a-z]{5,60}"), 1),
        free(2),
        greedy(Grammar::JsonSchema(
            json!({"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 9}),
        )),
        free(3),
        drawn(regex("[0-9]{2}"), 4),
        free(5),
    ];
    let wanted: Vec<_> = requests.iter().map(|request| ask(&mut session, request).unwrap().tokens).collect();
    session.forget();
    let found: Vec<_> = ask_all(&mut session, &requests).into_iter().map(|answer| answer.tokens).collect();
    assert_eq!(found, wanted);
}

/// A text that is shifted out of a full context is still what the grammar says.
#[test]
fn a_shifted_answer_goes_on_in_its_value() {
    let options = LoadOptions { context_len: Some(32), ..LoadOptions::default() };
    let Some(mut session) = load(options) else { return };
    let items = json!({"type": "array", "items": {"enum": ["one", "two"]}, "minItems": 30, "maxItems": 30});
    let request =
        GenerateOptions { overflow: Overflow::Shift, max_tokens: Some(1000), ..drawn(Grammar::JsonSchema(items), 3) };
    let answer = ask(&mut session, &request).unwrap();
    assert!(answer.dropped_tokens > 0, "the context held it all: {}", answer.text);
    assert_eq!(serde_json::from_str::<Vec<String>>(&answer.text).unwrap().len(), 30);
}

/// Probabilities are those among the tokens that may come.
#[test]
fn logprobs_are_among_what_is_allowed() {
    let Some(mut session) = session(1) else { return };
    let request = GenerateOptions { logprobs: Some(20), ..greedy(regex("(cat|dog)")) };
    let answer = ask(&mut session, &request).unwrap();
    assert!(["cat", "dog"].contains(&answer.text.as_str()), "{}", answer.text);
    let steps = answer.logprobs.unwrap();
    let sum: f32 = steps[0].top.iter().map(|token| token.logprob.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "the probabilities of all that may begin are {sum} in sum");
    assert!(steps.iter().all(|step| step.logprob == step.top[0].logprob && step.top.len() < 20));
}

#[test]
fn drafts_are_not_made_under_a_grammar() {
    let load_with = |speculate| load(LoadOptions { speculate, ..LoadOptions::default() });
    let (Some(mut plain), Some(mut speculating)) = (load_with(Speculate::Off), load_with(Speculate::Lookup)) else {
        return;
    };
    let request = drawn(regex("(ab ){30}"), 1);
    let (wanted, found) = (ask(&mut plain, &request).unwrap(), ask(&mut speculating, &request).unwrap());
    assert_eq!((found.text, found.timings.drafted_tokens), (wanted.text, 0));
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let Some(mut session) = session(1) else { return };
    let schema = |value: Value| Grammar::JsonSchema(value);
    let cases = [
        (schema(json!({"type": "thing"})), "JSON schema", "thing"),
        (schema(json!({"type": "integer", "minimum": 3, "maximum": 2})), "JSON schema", "minimum"),
        (schema(json!({"$ref": "#/$defs/missing"})), "JSON schema", "missing"),
        (schema(json!(3)), "JSON schema", "schema"),
        (schema(json!({"type": "string", "format": "telepathy"})), "JSON schema", "telepathy"),
        (schema(json!({"x-guidance": {"unheard": 1}})), "JSON schema", "unheard"),
        (regex("a("), "regular expression", "("),
        (Grammar::Lark("start: nothing".to_owned()), "grammar", "nothing"),
        (Grammar::Lark(String::new()), "grammar", ""),
    ];
    for (grammar, kind, word) in cases {
        let error = ask(&mut session, &greedy(grammar.clone())).unwrap_err().to_string();
        assert!(error.contains(kind) && error.contains(word) && !error.contains('\n'), "{grammar:?}: {error}");
    }
    let stopped = GenerateOptions { stop: vec!["}".to_owned()], ..greedy(Grammar::json_object()) };
    assert!(matches!(ask(&mut session, &stopped), Err(Error::Invalid { what }) if what.contains("stop texts")));
    let again = ask(&mut session, &greedy(regex("ok"))).unwrap();
    assert_eq!(again.text, "ok", "a refusal leaves nothing behind");
}
