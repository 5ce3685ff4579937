//! An answer as server-sent events, while it is written.

use super::answer::{Answer, finish_name};
use super::error::ApiError;
use super::limits::{PING_TIME, WRITE_TIME};
use super::work::Event;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use trice::session::{FinishReason, StepLogprobs};

/// Events that wait in front of a slow client; the rest waits in the generation's own channel.
const EVENTS_AHEAD: usize = 16;

/// The answer as it comes. The task ends, and with it the generation, when the client is gone.
pub(super) fn respond(answer: Answer, include_usage: bool) -> Response {
    let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
    tokio::spawn(async move {
        // The error says that the client is gone: there is nobody to tell.
        let _ = Stream { answer, include_usage, sender, n_chars: 0 }.run().await;
    });
    let keep_alive = KeepAlive::new().interval(PING_TIME);
    Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response()
}

/// A stream under way.
struct Stream {
    answer: Answer,
    include_usage: bool,
    sender: mpsc::Sender<Result<SseEvent, Infallible>>,
    /// Characters sent so far.
    n_chars: usize,
}

/// The client is gone, or takes nothing any more.
struct ClientGone;

impl Stream {
    async fn run(mut self) -> Result<(), ClientGone> {
        if self.answer.reply.is_some() {
            self.send_choice(json!({"delta": {"role": "assistant", "content": ""}}), Value::Null).await?;
        }
        loop {
            let event = tokio::select! {
                () = self.sender.closed() => return Err(ClientGone),
                event = self.answer.events.recv() => event,
            };
            match event {
                Some(Event::Started { .. }) => {}
                Some(Event::Piece { text, logprobs }) => self.piece(&text, &logprobs).await?,
                Some(Event::Done { finish_reason, counts }) => {
                    return self.done(finish_reason, self.answer.usage(&counts)).await;
                }
                Some(Event::Failed(error)) => return self.send(error.body().to_string()).await,
                None => return self.send(ApiError::engine_gone().body().to_string()).await,
            }
        }
    }

    async fn piece(&mut self, text: &str, steps: &[StepLogprobs]) -> Result<(), ClientGone> {
        let mut choices: Vec<Value> = match &mut self.answer.reply {
            Some(reply) => reply.push(text).into_iter().map(|delta| json!({"delta": delta})).collect(),
            None if text.is_empty() => Vec::new(),
            None => vec![json!({"text": text})],
        };
        if choices.is_empty() && !steps.is_empty() {
            choices.push(self.nothing());
        }
        // Log-probabilities come once, with whatever the tokens gave.
        let mut logprobs = self.answer.logprobs(steps, self.n_chars);
        for mut choice in choices {
            choice["logprobs"] = logprobs.take();
            self.send_choice(choice, Value::Null).await?;
        }
        self.n_chars += text.chars().count();
        Ok(())
    }

    /// A choice that adds nothing.
    fn nothing(&self) -> Value {
        if self.answer.reply.is_some() { json!({"delta": {}}) } else { json!({"text": ""}) }
    }

    async fn done(&mut self, reason: FinishReason, usage: Value) -> Result<(), ClientGone> {
        let rest = self.answer.reply.as_mut().map(|reply| reply.finish()).unwrap_or_default();
        for delta in rest {
            self.send_choice(json!({"delta": delta}), Value::Null).await?;
        }
        let has_calls = self.answer.reply.as_ref().is_some_and(|reply| reply.n_calls > 0);
        self.send_choice(self.nothing(), finish_name(reason, has_calls)).await?;
        if self.include_usage {
            let mut chunk = self.answer.envelope(true);
            chunk.insert("choices".to_string(), json!([]));
            chunk.insert("usage".to_string(), usage);
            self.send_object(chunk).await?;
        }
        self.send("[DONE]".to_string()).await
    }

    async fn send_choice(&self, mut choice: Value, finish_reason: Value) -> Result<(), ClientGone> {
        choice["index"] = json!(0);
        choice["finish_reason"] = finish_reason;
        let mut chunk = self.answer.envelope(true);
        chunk.insert("choices".to_string(), json!([choice]));
        if self.include_usage {
            chunk.insert("usage".to_string(), Value::Null);
        }
        self.send_object(chunk).await
    }

    async fn send_object(&self, chunk: Map<String, Value>) -> Result<(), ClientGone> {
        self.send(Value::Object(chunk).to_string()).await
    }

    async fn send(&self, data: String) -> Result<(), ClientGone> {
        let sent = self.sender.send(Ok(SseEvent::default().data(data)));
        match tokio::time::timeout(WRITE_TIME, sent).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(ClientGone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::answer::tests::{READ, answer, events};
    use trice::text::ReplyOptions;

    /// The chunks of a stream of these pieces, without what they all begin with.
    fn chunks(reply: Option<ReplyOptions>, pieces: &[&str]) -> Vec<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = runtime.block_on(async {
            let response = respond(answer(reply, events(pieces)).await, false);
            axum::body::to_bytes(response.into_body(), READ).await.unwrap()
        });
        let text = String::from_utf8(body.to_vec()).unwrap();
        let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.last(), Some(&"[DONE]"));
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    #[test]
    fn thoughts_words_and_calls_are_deltas() {
        let reply = ReplyOptions { tools: vec!["now".into()], is_reasoning: true, ..ReplyOptions::default() };
        let pieces = ["Hm", "m</th", "ink>\n\nI see", ". <tool", "_call>{\"name\":\"now\"", "}</tool_call>"];
        let chunks = chunks(Some(reply), &pieces);
        assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
        let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
        assert_eq!(deltas[0], &json!({"role": "assistant", "content": ""}));
        let text = |key: &str| deltas.iter().filter_map(|delta| delta[key].as_str()).collect::<String>();
        assert_eq!((text("reasoning_content").as_str(), text("content").as_str()), ("Hmm", "I see."));
        let calls: Vec<&Value> = deltas.iter().filter(|delta| !delta["tool_calls"].is_null()).copied().collect();
        assert_eq!(calls.len(), 1);
        let call = &calls[0]["tool_calls"][0];
        assert_eq!((&call["index"], &call["type"]), (&json!(0), &json!("function")));
        assert_eq!(call["function"], json!({"name": "now", "arguments": "{}"}));
        assert!(call["id"].as_str().unwrap().chars().all(|c| c.is_ascii_alphanumeric()), "{call}");
        let reasons: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
        assert_eq!(reasons.last().unwrap(), &"tool_calls");
        assert!(reasons[..reasons.len() - 1].iter().all(|reason| reason.is_null()));
    }

    #[test]
    fn a_completion_is_text_alone() {
        let chunks = chunks(None, &["<think>", "", "a"]);
        let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
        assert_eq!((text.as_str(), chunks.len()), ("<think>a", 3));
        assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
    }
}
