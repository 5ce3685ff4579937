//! `trice serve`: checks the flags and hands over to the server.

use super::Usage;
use super::args::{LoadArgs, ServeArgs};
use super::context::Context;
use crate::server::{self, ServerOptions};
use axum::http::{HeaderValue, Uri};
use std::num::NonZero;
use trice::session::{Cancel, LoadOptions};

/// The port when none is asked for, and how many after it are tried when it is taken.
const DEFAULT_PORT: u16 = 8080;
const PORTS_TRIED: u16 = 100;

/// Models served when none is named.
const DEFAULT_MODELS: [&str; 3] =
    [super::model::DEFAULT_DECODER, super::model::DEFAULT_CLASSIFIER, super::model::DEFAULT_EMBEDDER];

pub(crate) fn run(context: &Context, args: ServeArgs) -> anyhow::Result<()> {
    let api_key = args.api_key.filter(|key| !key.is_empty());
    if api_key.is_none() && !is_loopback(&args.host) {
        let host = &args.host;
        return Err(Usage(format!("--host {host} is open to others: protect it with --api-key")).into());
    }
    let ports = match args.port {
        Some(port) => port..=port,
        None => DEFAULT_PORT..=DEFAULT_PORT + PORTS_TRIED,
    };
    server::run(ServerOptions {
        load: LoadOptions {
            speculate: args.speculate.speculate(),
            ..LoadArgs { parallel: args.parallel.into(), ..args.load.clone() }.options(Cancel::default())
        },
        weights: args.load.weights,
        draft: args.speculate.draft,
        overflow: args.overflow.into(),
        models_are_defaults: args.models.is_empty(),
        max_models: args.max_models.map_or(usize::MAX, NonZero::get),
        models: if args.models.is_empty() { DEFAULT_MODELS.map(str::to_string).to_vec() } else { args.models },
        host: args.host,
        ports,
        api_key,
        allowed_hosts: args.allow_host,
        cors_origins: args.cors_origin.iter().map(|text| origin(text)).collect::<Result<_, _>>()?,
        site: args.site,
        open_browser: args.open,
        device: context.device().map(str::to_string),
        variants: context.variants().to_vec(),
    })
}

/// A page's origin as browsers send it: `https://app.example:8443`.
fn origin(text: &str) -> Result<HeaderValue, Usage> {
    let is_origin =
        |uri: &Uri| uri.scheme().is_some() && !text.ends_with('/') && uri.path() == "/" && uri.query().is_none();
    let found = text.parse().ok().filter(is_origin).and_then(|_| HeaderValue::from_str(text).ok());
    found.ok_or_else(|| Usage(format!("--cors-origin {text}: wanted is an origin such as http://localhost:5173")))
}

/// Whether only this machine can reach `host`.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, origin};

    #[test]
    fn origins_are_what_browsers_send() {
        assert!(origin("http://localhost:5173").is_ok() && origin("https://app.example").is_ok());
        for text in ["", "*", "null", "app.example", "http://app.example/", "http://app.example/chat", "http://a b"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for host in ["127.0.0.1", "127.8.8.8", "::1", "localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["0.0.0.0", "::", "192.168.1.2", "example.org", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
