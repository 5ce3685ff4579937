//! The routes of encoders' tasks: embeddings as OpenAI has them, rerank as Jina and Cohere do, the others as the command line prints them.

use super::error::ApiError;
use super::fields::Fields;
use super::limits::{MAX_INPUTS, MAX_LABELS};
use super::queue::Client;
use super::routes::{read_fields, submit};
use super::state::{App, ServedModel, Task};
use super::work::{Reply, Work};
use axum::Json;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use trice::tasks::{
    Aggregation, AnswerOptions, ClassifyOptions, Embedded, Explain, FillOptions, Long, Ranked, Reading, TagOptions,
    Unit,
};

type Answer = Result<Json<Value>, ApiError>;

/// Tokens of windows and answers, words for a hidden place: more than any model has room for is a mistake.
const MAX_TOKENS: i64 = 1 << 20;

/// How vectors are written.
#[derive(Clone, Copy)]
enum Encoding {
    Float,
    /// Little-endian f32.
    Base64,
}

pub(super) async fn embeddings(State(app): State<App>, request: Request) -> Answer {
    let (client, fields) = read_fields(request).await?;
    let texts = texts(&fields, "input")?;
    fields.refuse("dimensions")?;
    let encoding = match fields.string("encoding_format")? {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(ApiError::invalid("encoding_format", "encoding_format must be float or base64")),
    };
    let model = app.model(fields.string("model")?, Task::Embed)?;
    let (embedded, id) = ask(&app, client, model, |reply| Work::Embed { texts, reply }).await?;
    let entry = |(index, text): (usize, &Embedded)| json!({"object": "embedding", "index": index, "embedding": encoded(&text.embedding, encoding)});
    let data: Vec<Value> = embedded.iter().enumerate().map(entry).collect();
    let usage = usage(embedded.iter().map(|text| &text.reading));
    Ok(Json(json!({"object": "list", "data": data, "model": id, "usage": usage})))
}

fn encoded(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => json!(BASE64.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())),
    }
}

pub(super) async fn classify(State(app): State<App>, request: Request) -> Answer {
    let (client, fields) = read_fields(request).await?;
    let texts = texts(&fields, "input")?;
    let options = ClassifyOptions {
        labels: labels(&fields)?,
        template: template(&fields)?,
        multi_label: fields.bool("multi_label")?,
        long: long(&fields)?,
        explain: explain(&fields)?,
    };
    let top = count(&fields, "top", MAX_LABELS as i64)?.unwrap_or(usize::MAX);
    let wanted = if options.labels.is_empty() { Task::Classify } else { Task::Embed };
    let model = app.any_model(fields.string("model")?, wanted)?;
    let (mut classified, id) = ask(&app, client, model, |reply| Work::Classify { texts, options, reply }).await?;
    classified.iter_mut().for_each(|text| text.labels.truncate(top));
    Ok(per_text(&classified, id, |text| &text.reading))
}

/// Named entities; places count characters.
pub(super) async fn tag(State(app): State<App>, request: Request) -> Answer {
    let (client, fields) = read_fields(request).await?;
    let texts = texts(&fields, "input")?;
    let default = TagOptions::default();
    let aggregation = fields.string("aggregation")?.map(Aggregation::from_name).transpose();
    let options = TagOptions {
        aggregation: aggregation
            .map_err(|error| ApiError::invalid("aggregation", error.to_string()))?
            .unwrap_or(default.aggregation),
        long: long(&fields)?,
        stride: count(&fields, "stride", MAX_TOKENS)?.unwrap_or(default.stride),
        unit: Unit::Characters,
    };
    let model = app.model(fields.string("model")?, Task::Tag)?;
    let (tagged, id) = ask(&app, client, model, |reply| Work::Tag { texts, options, reply }).await?;
    Ok(per_text(&tagged, id, |text| &text.reading))
}

/// Answers to `question` that stand in `context`; places count characters.
pub(super) async fn answer(State(app): State<App>, request: Request) -> Answer {
    let (client, fields) = read_fields(request).await?;
    let (question, context) = (text(&fields, "question")?, text(&fields, "context")?);
    let default = AnswerOptions::default();
    let options = AnswerOptions {
        top: count(&fields, "top", MAX_TOKENS)?.unwrap_or(default.top),
        max_answer_len: count(&fields, "max_answer_len", MAX_TOKENS)?.unwrap_or(default.max_answer_len),
        max_len: count(&fields, "max_len", MAX_TOKENS)?.unwrap_or(default.max_len),
        stride: count(&fields, "stride", MAX_TOKENS)?,
        no_answer: fields.bool("no_answer")?,
        unit: Unit::Characters,
    };
    let model = app.model(fields.string("model")?, Task::Answer)?;
    let (mut answered, id) =
        ask(&app, client, model, |reply| Work::Answer { question, context, options, reply }).await?;
    let answered = answered.pop().ok_or_else(ApiError::engine_gone)?;
    let usage = usage([&answered.reading].into_iter());
    Ok(Json(json!({"object": "list", "answers": answered.answers, "model": id, "usage": usage})))
}

/// Words for the hidden places of texts.
pub(super) async fn fill(State(app): State<App>, request: Request) -> Answer {
    let (client, fields) = read_fields(request).await?;
    let texts = texts(&fields, "input")?;
    let options = FillOptions { top: count(&fields, "top", MAX_TOKENS)?.unwrap_or(FillOptions::default().top) };
    let model = app.model(fields.string("model")?, Task::Fill)?;
    let (filled, id) = ask(&app, client, model, |reply| Work::Fill { texts, options, reply }).await?;
    Ok(Json(json!({"object": "list", "data": entries(&filled), "model": id})))
}

/// The shapes of Jina's and Cohere's rerankers: `query`, `documents`, `top_n`, `return_documents`.
pub(super) async fn rerank(State(app): State<App>, request: Request) -> Answer {
    let (client, fields) = read_fields(request).await?;
    let query = text(&fields, "query")?;
    let documents = texts(&fields, "documents")?;
    let top = count(&fields, "top_n", MAX_INPUTS as i64)?.unwrap_or(usize::MAX);
    let returns = fields.bool("return_documents")?;
    let model = app.model(fields.string("model")?, Task::Rank)?;
    let work = |reply| Work::Rank { query, documents: documents.clone(), reply };
    let (ranked, id) = ask(&app, client, model, work).await?;
    let usage = usage(ranked.iter().map(|document| &document.reading));
    let entry = |Ranked { index, score, .. }: &Ranked| match returns {
        true => json!({"index": index, "relevance_score": score, "document": {"text": documents[*index]}}),
        false => json!({"index": index, "relevance_score": score}),
    };
    let results: Vec<Value> = ranked.iter().take(top).map(entry).collect();
    Ok(Json(json!({"object": "list", "results": results, "model": id, "usage": usage})))
}

/// The results of work for a model, and the model's name; dropping this cancels the work.
async fn ask<T>(
    app: &App,
    client: Client,
    (model, facts): (usize, ServedModel),
    work: impl FnOnce(Reply<T>) -> Work,
) -> Result<(Vec<T>, String), ApiError> {
    let (reply, received) = oneshot::channel();
    let _cancel = submit(app, client, model, work(reply))?;
    let results = received.await.map_err(|_| ApiError::engine_gone())??;
    Ok((results, facts.id))
}

/// One text's result: which text, counted from 0.
#[derive(Serialize)]
struct Entry<'a, T> {
    index: usize,
    #[serde(flatten)]
    text: &'a T,
}

fn entries<T: Serialize>(results: &[T]) -> Vec<Value> {
    results.iter().enumerate().map(|(index, text)| json!(Entry { index, text })).collect()
}

fn per_text<T: Serialize>(results: &[T], model: String, reading: impl Fn(&T) -> &Reading) -> Json<Value> {
    let usage = usage(results.iter().map(reading));
    Json(json!({"object": "list", "data": entries(results), "model": model, "usage": usage}))
}

fn usage<'a>(readings: impl Iterator<Item = &'a Reading>) -> Value {
    let tokens: usize = readings.map(|reading| reading.tokens).sum();
    json!({"prompt_tokens": tokens, "total_tokens": tokens})
}

fn text(fields: &Fields, name: &str) -> Result<String, ApiError> {
    match fields.string(name)? {
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(ApiError::invalid(name, format!("{name} must be a text that is not empty"))),
    }
}

fn texts(fields: &Fields, name: &str) -> Result<Vec<String>, ApiError> {
    let first = fields.get(name).and_then(Value::as_array).and_then(|list| list.first());
    if first.is_some_and(|first| first.is_number() || first.is_array()) {
        let message = format!(
            "{name} must be texts: token ids are those of another vocabulary (LangChain sends texts with check_embedding_ctx_length=False)"
        );
        return Err(ApiError::invalid(name, message));
    }
    let texts = fields.strings(name, MAX_INPUTS)?;
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(ApiError::invalid(name, format!("{name} must be 1 to {MAX_INPUTS} texts that are not empty")));
    }
    Ok(texts)
}

fn count(fields: &Fields, name: &str, most: i64) -> Result<Option<usize>, ApiError> {
    Ok(fields.integer(name, 1..=most)?.map(|n| n as usize))
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

/// `true` for each text's best label, or a label.
fn explain(fields: &Fields) -> Result<Option<Explain>, ApiError> {
    match fields.get("explain") {
        None | Some(Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(Explain::default())),
        Some(Value::String(label)) => Ok(Some(Explain { label: Some(label.clone()), ..Explain::default() })),
        Some(_) => Err(ApiError::invalid("explain", "explain must be true, false or a label")),
    }
}
