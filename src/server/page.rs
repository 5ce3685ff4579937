//! The page: static files from the site's folder, with ranges and types by the file's name.

use super::error::ApiError;
use super::state::App;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use tower_http::services::ServeDir;

const HINT: &str = "This is a Trice server without its page. Build the page with `cargo xtask web`, then start again,\n\
    or name its folder with --site. The API is at /v1.\n";

/// Answers every address that is no route of the API.
pub(crate) async fn page(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let path = request.uri().path();
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    if !readable || path.starts_with("/v1/") {
        return Err(ApiError::not_found("there is nothing at this address"));
    }
    if path == "/" && !app.site.join("index.html").is_file() {
        return Ok(HINT.into_response());
    }
    // The type of the body differs per service, hence the map.
    let response = ServeDir::new(&app.site).try_call(request).await.map(|response| response.map(Body::new));
    match response {
        Ok(mut response) if !response.status().is_client_error() => {
            // The page's parts belong together: a browser must ask whether its copies are still the same.
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            Ok(response)
        }
        Ok(response) if response.status() == axum::http::StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
        _ => Err(ApiError::not_found("there is nothing at this address")),
    }
}
