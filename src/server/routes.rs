//! The routes: which request becomes which job, and what comes back.

use super::answer::{Answer, CancelOnDrop};
use super::engine::Job;
use super::error::ApiError;
use super::fields::Fields;
use super::generate::{self, Delivery, Endpoint};
use super::guard::guard;
use super::limits::{BODY_TIME, MAX_BODY_BYTES, MAX_INPUTS, MAX_LABELS, REQUEST_TIME};
use super::page;
use super::state::{App, ServedModel, Wanted};
use super::work::Work;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use trice::model::config::Kind;
use trice::session::Cancel;
use trice::tasks::{Classified, ClassifyOptions, Embedded, Long, Ranked, Reading};

/// The whole server as a service.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/classify", post(classify))
        .route("/v1/rerank", post(rerank))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .fallback(page::page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
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
        json!({
            "id": model.id, "object": "model", "created": model.created, "owned_by": "trice",
            "context_length": model.context_len,
            "task": match model.kind {
                Kind::Decoder => "text-generation",
                Kind::Encoder => "feature-extraction",
            },
        })
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
    let fields = read_fields(request).await?;
    let (prompt, options, delivery) = generate::parse(endpoint, &fields, app.overflow)?;
    let (model, facts) = app.model(fields.string("model")?, Wanted::Text)?;
    let (events, received) = mpsc::unbounded_channel();
    let cancel = submit(app, model, Work::Generate { prompt, options: Box::new(options), events })?;
    let answer = Answer::begin(endpoint, facts.id, received, cancel).await?;
    match delivery {
        Delivery::Whole => answer.whole().await,
        Delivery::Stream { include_usage } => Ok(answer.stream(include_usage)),
    }
}

/// How vectors are written.
#[derive(Clone, Copy)]
enum Encoding {
    Float,
    /// Little-endian f32.
    Base64,
}

async fn embeddings(State(app): State<App>, request: Request) -> Result<Json<Value>, ApiError> {
    let fields = read_fields(request).await?;
    let texts = inputs(&fields)?;
    fields.refuse("dimensions")?;
    let encoding = match fields.string("encoding_format")? {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(ApiError::invalid("encoding_format", "encoding_format must be float or base64")),
    };
    let (model, facts) = app.model(fields.string("model")?, Wanted::Vectors)?;
    let (reply, received) = oneshot::channel();
    let _cancel = submit(&app, model, Work::Embed { texts, reply })?;
    let embedded = received.await.map_err(|_| ApiError::engine_gone())??;
    let entry = |(index, text): (usize, &Embedded)| json!({"object": "embedding", "index": index, "embedding": encoded(&text.embedding, encoding)});
    let data: Vec<Value> = embedded.iter().enumerate().map(entry).collect();
    let usage = usage(embedded.iter().map(|text| &text.reading));
    Ok(Json(json!({"object": "list", "data": data, "model": facts.id, "usage": usage})))
}

fn encoded(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => json!(BASE64.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())),
    }
}

fn usage<'a>(readings: impl Iterator<Item = &'a Reading>) -> Value {
    let tokens: usize = readings.map(|reading| reading.tokens).sum();
    json!({"prompt_tokens": tokens, "total_tokens": tokens})
}

async fn classify(State(app): State<App>, request: Request) -> Result<Json<Value>, ApiError> {
    let fields = read_fields(request).await?;
    let texts = inputs(&fields)?;
    let options = ClassifyOptions {
        labels: labels(&fields)?,
        template: template(&fields)?,
        multi_label: fields.bool("multi_label")?,
        long: long(&fields)?,
    };
    let top = fields.integer("top", 1..=MAX_LABELS as i64)?.map_or(usize::MAX, |top| top as usize);
    let wanted = if options.labels.is_empty() { Wanted::Labels } else { Wanted::Vectors };
    let (model, facts) = app.any_model(fields.string("model")?, wanted)?;
    let (reply, received) = oneshot::channel();
    let _cancel = submit(&app, model, Work::Classify { texts, options, reply })?;
    let mut classified = received.await.map_err(|_| ApiError::engine_gone())??;
    classified.iter_mut().for_each(|text| text.labels.truncate(top));
    let usage = usage(classified.iter().map(|text| &text.reading));
    let data: Vec<Value> = classified.iter().enumerate().map(|(index, text)| json!(Entry { index, text })).collect();
    Ok(Json(json!({"data": data, "model": facts.id, "usage": usage})))
}

/// One text's labels: which text, counted from 0.
#[derive(Serialize)]
struct Entry<'a> {
    index: usize,
    #[serde(flatten)]
    text: &'a Classified,
}

/// The shapes of Jina's and Cohere's rerankers: `query`, `documents`, `top_n`, `return_documents`.
async fn rerank(State(app): State<App>, request: Request) -> Result<Json<Value>, ApiError> {
    let fields = read_fields(request).await?;
    let query = match fields.string("query")? {
        Some(query) if !query.trim().is_empty() => query.to_string(),
        _ => return Err(ApiError::invalid("query", "query must be a text that is not empty")),
    };
    let documents = texts_of(&fields, "documents")?;
    let top = fields.integer("top_n", 1..=MAX_INPUTS as i64)?.map_or(usize::MAX, |top| top as usize);
    let returns = fields.bool("return_documents")?;
    let (model, facts) = app.model(fields.string("model")?, Wanted::Vectors)?;
    let (reply, received) = oneshot::channel();
    let _cancel = submit(&app, model, Work::Rank { query, documents: documents.clone(), reply })?;
    let ranked = received.await.map_err(|_| ApiError::engine_gone())??;
    let usage = usage(ranked.iter().map(|document| &document.reading));
    let entry = |Ranked { index, score, .. }: &Ranked| match returns {
        true => json!({"index": index, "relevance_score": score, "document": {"text": documents[*index]}}),
        false => json!({"index": index, "relevance_score": score}),
    };
    let results: Vec<Value> = ranked.iter().take(top).map(entry).collect();
    Ok(Json(json!({"object": "list", "results": results, "model": facts.id, "usage": usage})))
}

fn inputs(fields: &Fields) -> Result<Vec<String>, ApiError> {
    texts_of(fields, "input")
}

fn texts_of(fields: &Fields, name: &str) -> Result<Vec<String>, ApiError> {
    let texts = fields.strings(name, MAX_INPUTS)?;
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(ApiError::invalid(name, format!("{name} must be 1 to {MAX_INPUTS} texts that are not empty")));
    }
    Ok(texts)
}

fn long(fields: &Fields) -> Result<Long, ApiError> {
    match fields.string("long")? {
        None | Some("truncate") => Ok(Long::Truncate),
        Some("windows") => Ok(Long::Windows),
        Some(_) => Err(ApiError::invalid("long", "long must be truncate or windows")),
    }
}

fn labels(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let labels = fields.strings("labels", MAX_LABELS)?;
    if labels.iter().any(|label| label.trim().is_empty()) {
        return Err(ApiError::invalid("labels", "a label must not be empty"));
    }
    Ok(labels)
}

fn template(fields: &Fields) -> Result<Option<String>, ApiError> {
    match fields.string("template")? {
        Some(template) if !template.contains("{}") => {
            Err(ApiError::invalid("template", "template must hold {} where the label goes"))
        }
        template => Ok(template.map(str::to_string)),
    }
}

/// Queues work; dropping what comes back cancels it.
fn submit(app: &App, model: usize, work: Work) -> Result<CancelOnDrop, ApiError> {
    let cancel = CancelOnDrop(Cancel::default());
    app.submit(Job { model, cancel: cancel.0.clone(), deadline: Instant::now() + REQUEST_TIME, work })?;
    Ok(cancel)
}

/// The body as a JSON object. Its type must be said: a form on another page cannot say it.
async fn read_fields(request: Request) -> Result<Fields, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "the body must be sent as Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    // A body that says it is too large is not waited for.
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MAX_BODY_BYTES as u64) {
        return Err(body_too_large());
    }
    let body = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &()))
        .await
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long"))?
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
            _ => ApiError::malformed("the body could not be read"),
        })?;
    Fields::parse(&body)
}

fn body_too_large() -> ApiError {
    let message = format!("the body may have at most {MAX_BODY_BYTES} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}
