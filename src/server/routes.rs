//! The routes: which request becomes which job, and what comes back.

use super::answer::{Answer, CancelOnDrop};
use super::engine::Job;
use super::error::ApiError;
use super::fields::Fields;
use super::generate::{self, Asked, Delivery, Endpoint};
use super::guard::{guard, key};
use super::limits::{BODY_TIME, LINGER_TIME, MAX_BODY_BYTES, REQUEST_TIME};
use super::metrics::{Waiting, metrics};
use super::queue::Client;
use super::state::{App, ServedModel, Task};
use super::work::Work;
use super::{page, stream, tasks};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use trice::session::Cancel;

/// The whole server as a service.
pub(crate) fn router(app: App) -> Router {
    let router = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/embeddings", post(tasks::embeddings))
        .route("/v1/classify", post(tasks::classify))
        .route("/v1/tag", post(tasks::tag))
        .route("/v1/answer", post(tasks::answer))
        .route("/v1/rerank", post(tasks::rerank))
        .route("/v1/fill", post(tasks::fill))
        .route("/v1/models", get(models))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .fallback(page::page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), key));
    let router = match app.guard.cors() {
        Some(layer) => router.layer(layer),
        None => router,
    };
    router.layer(middleware::from_fn_with_state(app.clone(), guard)).with_state(app)
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address wants another method")
}

async fn health(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    app.status.models()?;
    Ok(Json(json!({"status": "ok"})))
}

async fn models(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let models = app.status.models()?;
    let entry = |model: &ServedModel| {
        let mut entry = json!({
            "id": model.id, "object": "model", "created": model.created, "owned_by": "trice",
            "context_length": model.context_len,
            "task": model.task.name(),
        });
        if let Some((entry, about)) = entry.as_object_mut().zip(model.about.as_object()) {
            entry.extend(about.clone());
        }
        entry
    };
    Ok(Json(json!({"object": "list", "data": models.iter().map(entry).collect::<Vec<_>>()})))
}

async fn chat(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    generate(&app, Endpoint::Chat, request).await
}

async fn completions(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    generate(&app, Endpoint::Completion, request).await
}

async fn generate(app: &App, endpoint: Endpoint, request: Request) -> Result<Response, ApiError> {
    let (client, fields) = read_fields(request).await?;
    let Asked { prompt, options, reply, delivery } = generate::parse(endpoint, &fields, app.overflow)?;
    let (model, facts) = app.model(fields.string("model")?, Task::Generate)?;
    let (events, received) = mpsc::unbounded_channel();
    let cancel = submit(app, client, model, Work::Generate { prompt, options: Box::new(options), events })?;
    let answer = Answer::begin(reply, facts.id, received, cancel).await?;
    match delivery {
        Delivery::Whole => answer.whole().await,
        Delivery::Stream { include_usage } => Ok(stream::respond(answer, include_usage)),
    }
}

/// Queues work; dropping what comes back cancels it.
pub(super) fn submit(app: &App, client: Client, model: usize, work: Work) -> Result<CancelOnDrop, ApiError> {
    let cancel = CancelOnDrop(Cancel::default());
    let (deadline, waiting) = (Instant::now() + REQUEST_TIME, Waiting::new(&app.metrics, app.place()?));
    let job = Job { client, model, cancel: cancel.0.clone(), deadline, waiting, work };
    app.jobs.send(job).map_err(|_| ApiError::engine_gone())?;
    Ok(cancel)
}

/// Who asks, and the body as a JSON object. Its type must be said: a form on another page cannot say it.
pub(super) async fn read_fields(request: Request) -> Result<(Client, Fields), ApiError> {
    let client = request.extensions().get().copied().unwrap_or_default();
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "the body must be sent as Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    // A body that says it is too large is not waited for, but taken: who is cut off while sending may not hear why.
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MAX_BODY_BYTES as u64) {
        tokio::spawn(discard(request.into_body()));
        return Err(body_too_large());
    }
    let body = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &()))
        .await
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long"))?
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
            _ => ApiError::malformed("the body could not be read"),
        })?;
    Ok((client, Fields::parse(&body)?))
}

/// Takes what is sent and drops it, for a while.
async fn discard(body: Body) {
    let mut chunks = body.into_data_stream();
    let all = async { while let Some(Ok(_)) = chunks.next().await {} };
    let _ = tokio::time::timeout(LINGER_TIME, all).await;
}

fn body_too_large() -> ApiError {
    let message = format!("the body may have at most {MAX_BODY_BYTES} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}
