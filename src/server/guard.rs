//! Who may ask: the Host allow-list against DNS rebinding, the Origin check against other pages and the allow-list of those that may,
//! the key. Also the log.

use super::error::ApiError;
use super::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tower_http::cors::{AllowHeaders, CorsLayer};

/// That a browser may keep what it was told of another page's rights.
const CORS_AGE: Duration = Duration::from_secs(3600);

/// What a request must show to be answered.
pub(crate) struct Guard {
    /// Lower-case names by which this server may be called, beside IP addresses.
    hosts: Vec<String>,
    /// Origins of other pages that may ask.
    origins: Vec<HeaderValue>,
    /// SHA-256 of the key: equal lengths, so that comparing tells nothing about the key.
    key_digest: Option<[u8; 32]>,
}

impl Guard {
    pub(crate) fn new(host: &str, allowed_hosts: &[String], origins: &[HeaderValue], api_key: Option<&str>) -> Self {
        let hosts = ["localhost", host].into_iter().chain(allowed_hosts.iter().map(String::as_str));
        Self {
            hosts: hosts.map(str::to_ascii_lowercase).collect(),
            origins: origins.to_vec(),
            key_digest: api_key.map(|key| Sha256::digest(key).into()),
        }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = self.check_host(uri, headers)?;
        self.check_origin(headers, &host)
    }

    /// What lets other pages read answers; none where no other page may.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        let layer = CorsLayer::new()
            .allow_origin(self.origins.clone())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .allow_private_network(true)
            .max_age(CORS_AGE);
        (!self.origins.is_empty()).then_some(layer)
    }

    /// The request's host with its port, once it is known to be one of ours. A page that rebinds its own name to this
    /// address still sends that name, so names must be listed; an address cannot be rebound.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, ApiError> {
        let named = uri.authority().map(|authority| authority.as_str());
        let host = named.or_else(|| headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
        let name = without_port(host);
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Ok(host.to_ascii_lowercase());
        }
        let message = "this server does not answer to that host name; --allow-host NAME adds one";
        Err(ApiError::new(StatusCode::FORBIDDEN, "host_not_allowed", message))
    }

    /// A browser says which page asks; only our own may, and those that are listed.
    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), ApiError> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let authority =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
        if authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) || self.origins.contains(origin) {
            return Ok(());
        }
        let message = "this server does not answer to that page; --cors-origin ORIGIN adds one";
        Err(ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message))
    }

    /// The page and `/health` are open to all who may ask.
    fn check_key(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let needs_key = uri.path().starts_with("/v1/") || uri.path() == "/metrics";
        let Some(wanted) = self.key_digest.as_ref().filter(|_| needs_key) else { return Ok(()) };
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let found: [u8; 32] = Sha256::digest(sent.unwrap_or_default()).into();
        let difference = wanted.iter().zip(found).fold(0, |difference, (a, b)| difference | (a ^ b));
        if sent.is_some() && difference == 0 {
            return Ok(());
        }
        let message = "a valid key is needed: Authorization: Bearer KEY";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message))
    }
}

/// `localhost:8080` without its port; an IPv6 address keeps its colons.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Lets a request through or refuses it, and logs either: method, route, status and time, never what was said.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_string());
    let mut response = match app.guard.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'"));
    let (status, ms) = (response.status().as_u16(), start.elapsed().as_millis());
    let route = route.as_deref().unwrap_or("page");
    app.metrics.answered(route, status);
    tracing::info!(%method, route, status, ms, "request");
    response
}

/// Lets a request through that shows the key, where there is one. What a browser asks before it may ask shows none.
pub(crate) async fn key(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.guard.check_key(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn check(guard: &Guard, path: &str, pairs: &[(&'static str, &str)]) -> bool {
        let (uri, headers) = (path.parse().unwrap(), headers(pairs));
        guard.check(&uri, &headers).and_then(|()| guard.check_key(&uri, &headers)).is_ok()
    }

    #[test]
    fn only_listed_names_and_addresses_are_hosts() {
        let guard = Guard::new("127.0.0.1", &["box.lan".to_string()], &[], None);
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]", "LOCALHOST", "box.lan:80"] {
            assert!(check(&guard, "/health", &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example", "evil.example:8080"] {
            assert!(!check(&guard, "/health", &[("host", host)]), "{host}");
        }
        assert!(!check(&guard, "/health", &[]));
        assert!(!check(&guard, "http://evil.example/health", &[("host", "localhost")]));
    }

    #[test]
    fn only_our_own_page_asks_and_those_listed() {
        let listed = [HeaderValue::from_static("https://app.example")];
        let guard = Guard::new("127.0.0.1", &[], &listed, None);
        let ask = |origin: &str| check(&guard, "/v1/models", &[("host", "localhost:8080"), ("origin", origin)]);
        assert!(ask("http://localhost:8080") && ask("https://app.example"));
        for origin in ["https://evil.example", "http://localhost:3000", "null", "http://localhost:8080.evil.example"] {
            assert!(!ask(origin), "{origin}");
        }
    }

    #[test]
    fn the_key_opens_the_api() {
        let guard = Guard::new("127.0.0.1", &[], &[], Some("secret"));
        let ask = |path: &str, sent: &str| check(&guard, path, &[("host", "localhost"), ("authorization", sent)]);
        assert!(ask("/v1/models", "Bearer secret"));
        for sent in ["Bearer Secret", "Bearer ", "secret", "Basic secret", "Bearer secret2"] {
            assert!(!ask("/v1/models", sent), "{sent}");
        }
        assert!(!check(&guard, "/v1/models", &[("host", "localhost")]));
        assert!(!check(&guard, "/metrics", &[("host", "localhost")]));
        assert!(check(&guard, "/health", &[("host", "localhost")]));
    }
}
