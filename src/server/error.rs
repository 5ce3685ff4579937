//! What a client is told when something is wrong, in OpenAI's shape: `{"error": {message, type, param, code}}`.

use super::limits::RETRY_AFTER_S;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use trice::Error;
use trice::text::WrongField;

/// Characters of a message: some name what the client sent, which may be long.
const MAX_MESSAGE_CHARS: usize = 300;

/// A refused or failed request.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    /// The field that is wrong.
    param: Option<String>,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message: String = message.into().chars().take(MAX_MESSAGE_CHARS).collect();
        Self { status, code, param: None, message }
    }

    /// 400: a field out of range or of the wrong kind.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_string()), ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message) }
    }

    /// 400: a field that OpenAI knows and this server does not (yet) act on.
    pub(crate) fn unsupported(param: &str) -> Self {
        let message = format!("{param} is not supported by this server");
        Self { param: Some(param.to_string()), ..Self::new(StatusCode::BAD_REQUEST, "unsupported_parameter", message) }
    }

    /// 400: the body is no JSON object.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// 400: more tokens than the context holds.
    pub(crate) fn context_length(n_tokens: usize, context_len: usize) -> Self {
        let message = format!("the prompt has {n_tokens} tokens, the context holds {context_len} with the answer");
        Self::new(StatusCode::BAD_REQUEST, "context_length_exceeded", message)
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    /// 503: come back later.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// The engine is gone: only at shutdown, or after a bug.
    pub(crate) fn engine_gone() -> Self {
        Self::unavailable("engine_stopped", "the engine has stopped")
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The body, also sent as an event when a stream has already begun.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {
            "message": self.message, "type": self.kind(), "param": self.param, "code": self.code,
        }})
    }
}

/// A field that the library has read.
impl From<WrongField> for ApiError {
    fn from(wrong: WrongField) -> Self {
        Self::invalid(&wrong.field, wrong.to_string())
    }
}

/// What the library refuses is the request's fault unless the machine is.
impl From<&Error> for ApiError {
    fn from(error: &Error) -> Self {
        let (status, code) = match error {
            Error::Limit { .. } => (StatusCode::BAD_REQUEST, "context_length_exceeded"),
            Error::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid_value"),
            Error::Unsupported { .. } => (StatusCode::BAD_REQUEST, "unsupported"),
            // A chat template that refuses a conversation says so as the template's own error.
            Error::Format { .. } => (StatusCode::BAD_REQUEST, "invalid_value"),
            Error::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "cancelled"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "engine_failed"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}
