//! Sends a generation back in OpenAI's shapes: whole, or as server-sent events.

use super::error::ApiError;
use super::generate::Endpoint;
use super::limits::{PING_TIME, WRITE_TIME};
use super::models::unix_time;
use super::work::{Event, Step, TokenText};
use axum::Json;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use trice::session::{Cancel, FinishReason};

/// Events that wait in front of a slow client; the rest waits in the generation's own channel.
const EVENTS_AHEAD: usize = 16;

/// Stops the engine's work when the request that wanted it goes away.
pub(crate) struct CancelOnDrop(pub(crate) Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A generation whose prompt was accepted, and who wants it.
pub(crate) struct Answer {
    endpoint: Endpoint,
    id: String,
    model: String,
    created: u64,
    prompt_tokens: usize,
    events: mpsc::UnboundedReceiver<Event>,
    _cancel: CancelOnDrop,
}

/// Everything between `Started` and `Done`.
struct Finished {
    text: String,
    steps: Vec<Step>,
    finish_reason: FinishReason,
    tokens: usize,
    dropped_tokens: usize,
}

impl Answer {
    /// Waits until the engine has accepted the prompt; until then a refusal can have its own status.
    pub(crate) async fn begin(
        endpoint: Endpoint,
        model: String,
        mut events: mpsc::UnboundedReceiver<Event>,
        cancel: CancelOnDrop,
    ) -> Result<Self, ApiError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let prompt_tokens = match events.recv().await {
            Some(Event::Started { prompt_tokens }) => prompt_tokens,
            Some(Event::Failed(error)) => return Err(error),
            _ => return Err(ApiError::engine_gone()),
        };
        let created = unix_time();
        let prefix = match endpoint {
            Endpoint::Chat => "chatcmpl",
            Endpoint::Completion => "cmpl",
        };
        let id = format!("{prefix}-{created:x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
        Ok(Self { endpoint, id, model, created, prompt_tokens, events, _cancel: cancel })
    }

    /// The whole answer in one object.
    pub(crate) async fn whole(mut self) -> Result<Response, ApiError> {
        let finished = self.collect().await?;
        let logprobs = self.logprobs(&finished.steps, 0);
        let mut choice = json!({"index": 0});
        match self.endpoint {
            Endpoint::Chat => choice["message"] = json!({"role": "assistant", "content": finished.text}),
            Endpoint::Completion => choice["text"] = json!(finished.text),
        }
        choice["logprobs"] = logprobs;
        choice["finish_reason"] = finish_name(finished.finish_reason);
        let mut body = self.envelope();
        body.insert("choices".to_string(), json!([choice]));
        body.insert("usage".to_string(), self.usage(finished.tokens, finished.dropped_tokens));
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
                Event::Done { finish_reason, tokens, dropped_tokens } => {
                    return Ok(Finished { text, steps, finish_reason, tokens, dropped_tokens });
                }
                Event::Failed(error) => return Err(error),
            }
        }
        Err(ApiError::engine_gone())
    }

    /// The answer as it comes. The task ends, and with it the generation, when the client is gone.
    pub(crate) fn stream(self, include_usage: bool) -> Response {
        let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
        tokio::spawn(async move {
            // The error says that the client is gone: there is nobody to tell.
            let _ = Stream { answer: self, include_usage, sender, n_chars: 0 }.run().await;
        });
        let keep_alive = KeepAlive::new().interval(PING_TIME);
        Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response()
    }

    /// The fields that every object of this answer begins with.
    fn envelope(&self) -> Map<String, Value> {
        let object = match self.endpoint {
            Endpoint::Chat => "chat.completion",
            Endpoint::Completion => "text_completion",
        };
        let mut map = Map::new();
        map.insert("id".to_string(), json!(self.id));
        map.insert("object".to_string(), json!(object));
        map.insert("created".to_string(), json!(self.created));
        map.insert("model".to_string(), json!(self.model));
        map
    }

    /// Tokens of the request and of the answer. `dropped_tokens` is beside OpenAI's fields, where there are any.
    fn usage(&self, tokens: usize, dropped_tokens: usize) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        });
        if dropped_tokens > 0 {
            usage["dropped_tokens"] = json!(dropped_tokens);
        }
        usage
    }

    /// `n_chars`: characters of the answer before the first of `steps`.
    fn logprobs(&self, steps: &[Step], n_chars: usize) -> Value {
        match self.endpoint {
            _ if steps.is_empty() => Value::Null,
            Endpoint::Chat => json!({"content": steps.iter().map(chat_step).collect::<Vec<_>>()}),
            Endpoint::Completion => completion_steps(steps, n_chars),
        }
    }
}

fn finish_name(reason: FinishReason) -> Value {
    match reason {
        FinishReason::Stop => json!("stop"),
        FinishReason::Length | FinishReason::Cancelled => json!("length"),
    }
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
        if self.answer.endpoint == Endpoint::Chat {
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
                Some(Event::Done { finish_reason, tokens, dropped_tokens }) => {
                    return self.done(finish_reason, self.answer.usage(tokens, dropped_tokens)).await;
                }
                Some(Event::Failed(error)) => return self.fail(&error).await,
                None => return self.fail(&ApiError::engine_gone()).await,
            }
        }
    }

    async fn piece(&mut self, text: &str, steps: &[Step]) -> Result<(), ClientGone> {
        if text.is_empty() && steps.is_empty() {
            return Ok(());
        }
        let mut choice = match self.answer.endpoint {
            Endpoint::Chat => json!({"delta": {"content": text}}),
            Endpoint::Completion => json!({"text": text}),
        };
        choice["logprobs"] = self.answer.logprobs(steps, self.n_chars);
        self.n_chars += text.chars().count();
        self.send_choice(choice, Value::Null).await
    }

    async fn done(&self, reason: FinishReason, usage: Value) -> Result<(), ClientGone> {
        let choice = match self.answer.endpoint {
            Endpoint::Chat => json!({"delta": {}}),
            Endpoint::Completion => json!({"text": ""}),
        };
        self.send_choice(choice, finish_name(reason)).await?;
        if self.include_usage {
            let mut chunk = self.chunk();
            chunk.insert("choices".to_string(), json!([]));
            chunk.insert("usage".to_string(), usage);
            self.send(Value::Object(chunk).to_string()).await?;
        }
        self.send("[DONE]".to_string()).await
    }

    async fn fail(&self, error: &ApiError) -> Result<(), ClientGone> {
        self.send(error.body().to_string()).await
    }

    async fn send_choice(&self, mut choice: Value, finish_reason: Value) -> Result<(), ClientGone> {
        choice["index"] = json!(0);
        choice["finish_reason"] = finish_reason;
        let mut chunk = self.chunk();
        chunk.insert("choices".to_string(), json!([choice]));
        if self.include_usage {
            chunk.insert("usage".to_string(), Value::Null);
        }
        self.send(Value::Object(chunk).to_string()).await
    }

    fn chunk(&self) -> Map<String, Value> {
        let mut chunk = self.answer.envelope();
        if self.answer.endpoint == Endpoint::Chat {
            chunk.insert("object".to_string(), json!("chat.completion.chunk"));
        }
        chunk
    }

    async fn send(&self, data: String) -> Result<(), ClientGone> {
        let sent = self.sender.send(Ok(SseEvent::default().data(data)));
        match tokio::time::timeout(WRITE_TIME, sent).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(ClientGone),
        }
    }
}

fn chat_step(step: &Step) -> Value {
    let mut entry = chat_token(&step.chosen);
    entry["top_logprobs"] = step.top.iter().map(chat_token).collect();
    entry
}

fn chat_token(token: &TokenText) -> Value {
    json!({"token": shown(token), "logprob": token.logprob, "bytes": token.bytes})
}

fn completion_steps(steps: &[Step], n_chars: usize) -> Value {
    let mut offset = n_chars;
    let mut offsets = Vec::with_capacity(steps.len());
    for step in steps {
        offsets.push(offset);
        offset += shown(&step.chosen).chars().count();
    }
    let top = |step: &Step| step.top.iter().map(|token| (shown(token), json!(token.logprob))).collect::<Map<_, _>>();
    json!({
        "tokens": steps.iter().map(|step| shown(&step.chosen)).collect::<Vec<_>>(),
        "token_logprobs": steps.iter().map(|step| step.chosen.logprob).collect::<Vec<_>>(),
        "top_logprobs": steps.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// A token's bytes as text; half a character shows as U+FFFD, `bytes` has the truth.
fn shown(token: &TokenText) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}
