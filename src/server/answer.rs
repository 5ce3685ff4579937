//! Sends a generation back in OpenAI's shapes, whole; `stream` does it while it is written.

use super::error::ApiError;
use super::models::unix_time;
use super::reply::Reply;
use super::work::{Counts, Event};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use trice::session::{Cancel, FinishReason, StepLogprobs};
use trice::text::ReplyOptions;

/// Stops the engine's work when the request that wanted it goes away.
pub(crate) struct CancelOnDrop(pub(crate) Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A generation whose prompt was accepted, and who wants it.
pub(crate) struct Answer {
    /// A chat's answer has parts; a completion is text.
    pub(super) reply: Option<Reply>,
    id: String,
    model: String,
    created: u64,
    prompt_tokens: usize,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    _cancel: CancelOnDrop,
}

/// Everything between `Started` and `Done`.
struct Finished {
    text: String,
    steps: Vec<StepLogprobs>,
    finish_reason: FinishReason,
    counts: Counts,
}

impl Answer {
    /// Waits until the engine has accepted the prompt; until then a refusal can have its own status. `reply`: how to read a chat's
    /// answer.
    pub(crate) async fn begin(
        reply: Option<ReplyOptions>,
        model: String,
        mut events: mpsc::UnboundedReceiver<Event>,
        cancel: CancelOnDrop,
    ) -> Result<Self, ApiError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (prompt_tokens, opens_reasoning) = match events.recv().await {
            Some(Event::Started { prompt_tokens, opens_reasoning }) => (prompt_tokens, opens_reasoning),
            Some(Event::Failed(error)) => return Err(error),
            _ => return Err(ApiError::engine_gone()),
        };
        let created = unix_time();
        let prefix = if reply.is_some() { "chatcmpl" } else { "cmpl" };
        let id = format!("{prefix}-{created:x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
        let reply = reply.map(|options| Reply::new(ReplyOptions { is_reasoning: opens_reasoning, ..options }));
        Ok(Self { reply, id, model, created, prompt_tokens, events, _cancel: cancel })
    }

    /// The whole answer in one object.
    pub(crate) async fn whole(mut self) -> Result<Response, ApiError> {
        let finished = self.collect().await?;
        let logprobs = self.logprobs(&finished.steps, 0);
        let mut choice = json!({"index": 0});
        let mut has_calls = false;
        match &mut self.reply {
            Some(reply) => {
                choice["message"] = reply.message(&finished.text);
                has_calls = reply.n_calls > 0;
            }
            None => choice["text"] = json!(finished.text),
        }
        choice["logprobs"] = logprobs;
        choice["finish_reason"] = finish_name(finished.finish_reason, has_calls);
        let mut body = self.envelope(false);
        body.insert("choices".to_string(), json!([choice]));
        body.insert("usage".to_string(), self.usage(&finished.counts));
        Ok(Json(body).into_response())
    }

    async fn collect(&mut self) -> Result<Finished, ApiError> {
        let (mut text, mut steps) = (String::new(), Vec::new());
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Started { .. } => {}
                Event::Piece { text: piece, logprobs } => {
                    text.push_str(&piece);
                    steps.extend(logprobs);
                }
                Event::Done { finish_reason, counts } => return Ok(Finished { text, steps, finish_reason, counts }),
                Event::Failed(error) => return Err(error),
            }
        }
        Err(ApiError::engine_gone())
    }

    /// The fields that every object of this answer begins with.
    pub(super) fn envelope(&self, is_chunk: bool) -> Map<String, Value> {
        let object = match self.reply {
            Some(_) if is_chunk => "chat.completion.chunk",
            Some(_) => "chat.completion",
            None => "text_completion",
        };
        let mut map = Map::new();
        map.insert("id".to_string(), json!(self.id));
        map.insert("object".to_string(), json!(object));
        map.insert("created".to_string(), json!(self.created));
        map.insert("model".to_string(), json!(self.model));
        map
    }

    /// Tokens of the request and of the answer. `dropped_tokens` is beside OpenAI's fields, where there are any.
    pub(super) fn usage(&self, counts: &Counts) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": counts.tokens,
            "total_tokens": self.prompt_tokens + counts.tokens,
            "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
        });
        if counts.dropped_tokens > 0 {
            usage["dropped_tokens"] = json!(counts.dropped_tokens);
        }
        usage
    }

    /// `n_chars`: characters of the answer before the first of `steps`.
    pub(super) fn logprobs(&self, steps: &[StepLogprobs], n_chars: usize) -> Value {
        match self.reply {
            _ if steps.is_empty() => Value::Null,
            Some(_) => json!({"content": steps.iter().map(chat_step).collect::<Vec<_>>()}),
            None => completion_steps(steps, n_chars),
        }
    }
}

pub(super) fn finish_name(reason: FinishReason, has_calls: bool) -> Value {
    match reason {
        FinishReason::Stop if has_calls => json!("tool_calls"),
        FinishReason::Stop => json!("stop"),
        FinishReason::Length | FinishReason::Cancelled => json!("length"),
    }
}

fn chat_step(step: &StepLogprobs) -> Value {
    let mut entry = chat_token(&step.bytes, step.logprob);
    entry["top_logprobs"] = step.top.iter().map(|token| chat_token(&token.bytes, token.logprob)).collect();
    entry
}

fn chat_token(bytes: &[u8], logprob: f32) -> Value {
    json!({"token": shown(bytes), "logprob": logprob, "bytes": bytes})
}

fn completion_steps(steps: &[StepLogprobs], n_chars: usize) -> Value {
    let mut offset = n_chars;
    let mut offsets = Vec::with_capacity(steps.len());
    for step in steps {
        offsets.push(offset);
        offset += shown(&step.bytes).chars().count();
    }
    let top = |step: &StepLogprobs| {
        step.top.iter().map(|token| (shown(&token.bytes), json!(token.logprob))).collect::<Map<_, _>>()
    };
    json!({
        "tokens": steps.iter().map(|step| shown(&step.bytes)).collect::<Vec<_>>(),
        "token_logprobs": steps.iter().map(|step| step.logprob).collect::<Vec<_>>(),
        "top_logprobs": steps.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// A token's bytes as text; half a character shows as U+FFFD, `bytes` has the truth.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Bytes of a body, at most.
    pub(in super::super) const READ: usize = 1 << 20;

    /// What the engine tells of an answer that came in these pieces.
    pub(in super::super) fn events(pieces: &[&str]) -> Vec<Event> {
        let piece = |text: &&str| Event::Piece { text: (*text).to_owned(), logprobs: Vec::new() };
        let counts = Counts { tokens: pieces.len(), dropped_tokens: 0, cached_tokens: 2 };
        let done = Event::Done { finish_reason: FinishReason::Stop, counts };
        pieces.iter().map(piece).chain([done]).collect()
    }

    pub(in super::super) async fn answer(reply: Option<ReplyOptions>, events: Vec<Event>) -> Answer {
        let opens_reasoning = reply.as_ref().is_some_and(|reply| reply.is_reasoning);
        let (sender, received) = mpsc::unbounded_channel();
        let started = Event::Started { prompt_tokens: 3, opens_reasoning };
        [started].into_iter().chain(events).for_each(|event| assert!(sender.send(event).is_ok()));
        Answer::begin(reply, "m".to_owned(), received, CancelOnDrop(Cancel::default())).await.unwrap()
    }

    fn whole(reply: Option<ReplyOptions>, pieces: &[&str]) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = runtime.block_on(async {
            let response = answer(reply, events(pieces)).await.whole().await.unwrap();
            axum::body::to_bytes(response.into_body(), READ).await.unwrap()
        });
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn calls_stand_in_the_message() {
        let reply = ReplyOptions { tools: vec!["now".into()], is_reasoning: true, ..ReplyOptions::default() };
        let called = "Hm.</think>[TOOL_CALLS][{\"name\":\"now\"},{\"name\":\"now\",\"arguments\":{\"a\":1}}]";
        let body = whole(Some(reply.clone()), &[called]);
        let (message, choice) = (&body["choices"][0]["message"], &body["choices"][0]);
        assert_eq!((&message["content"], &message["reasoning_content"]), (&Value::Null, &json!("Hm.")));
        assert_eq!(message["tool_calls"][1]["function"], json!({"name": "now", "arguments": "{\"a\":1}"}));
        assert_ne!(message["tool_calls"][0]["id"], message["tool_calls"][1]["id"]);
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
        let body = whole(Some(ReplyOptions { is_reasoning: false, ..reply }), &["No", " call."]);
        assert_eq!(body["choices"][0]["message"], json!({"role": "assistant", "content": "No call."}));
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        assert_eq!(whole(None, &["<think>x"])["choices"][0]["text"], "<think>x");
    }
}
