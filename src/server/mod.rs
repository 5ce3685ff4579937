//! `trice serve`: the page and an OpenAI-compatible API. Binds, accepts, and stops gracefully; what is answered is in
//! `routes`, what is computed in `work`. Holds no model code.

use crate::cli::WeightArgs;
use anyhow::Context as _;
use axum::http::HeaderValue;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use trice::session::{Cancel, LoadOptions, Overflow};

mod answer;
mod browser;
mod engine;
mod error;
mod fields;
mod generate;
mod guard;
mod limits;
mod metrics;
mod models;
mod page;
mod parallel;
mod queue;
mod reply;
mod routes;
mod state;
mod stream;
mod tasks;
mod tools;
mod work;

use engine::Engine;
use guard::Guard;
use limits::{DRAIN_TIME, HEADER_TIME, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_QUEUE};
use metrics::Metrics;
use queue::Client;
use state::{Phase, State, Status};

/// After a failed accept (no file descriptors left, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Exit code of a process that is told to stop a second time.
const EXIT_INTERRUPTED: i32 = 130;

/// What `trice serve` was asked for.
pub(crate) struct ServerOptions {
    /// Names of the models.
    pub(crate) models: Vec<String>,
    /// Nobody named a model: the page is worth serving without any.
    pub(crate) models_are_defaults: bool,
    /// Models that may be loaded at once.
    pub(crate) max_models: usize,
    pub(crate) load: LoadOptions,
    /// What becomes of their weights.
    pub(crate) weights: WeightArgs,
    /// The model that drafts for every decoder.
    pub(crate) draft: Option<String>,
    /// What happens where a text is longer than the context, when a request does not say.
    pub(crate) overflow: Overflow,
    pub(crate) device: Option<String>,
    /// Shaders forced by `--variant`.
    pub(crate) variants: Vec<String>,
    pub(crate) host: String,
    /// Tried in order.
    pub(crate) ports: RangeInclusive<u16>,
    pub(crate) api_key: Option<String>,
    pub(crate) allowed_hosts: Vec<String>,
    /// Origins of other pages that may ask, such as `http://localhost:5173`.
    pub(crate) cors_origins: Vec<HeaderValue>,
    pub(crate) site: PathBuf,
    pub(crate) open_browser: bool,
}

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(options: ServerOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: ServerOptions) -> anyhow::Result<()> {
    let signals = StopSignals::new()?;
    let listener = bind(&options.host, options.ports.clone()).await?;
    let address = format!("http://{}", listener.local_addr()?);
    writeln!(io::stdout(), "listening on {address}")?;
    if options.open_browser {
        // The page runs on this program then, not on the browser's GPU; it has no way to be told a key.
        browser::open(&if options.api_key.is_some() { address.clone() } else { format!("{address}/?engine=native") });
    }
    let status = Status::loading();
    let guard = Guard::new(&options.host, &options.allowed_hosts, &options.cors_origins, options.api_key.as_deref());
    let (site, overflow, load_cancel) = (options.site.clone(), options.overflow, options.load.cancel.clone());
    let mut engine = Engine::start(options, status.clone()).context("starting the engine thread")?;
    let app = Arc::new(State {
        status: status.clone(),
        guard,
        metrics: Metrics::new(),
        site,
        overflow,
        jobs: engine.jobs.clone(),
        places: Arc::new(Semaphore::new(MAX_QUEUE)),
    });
    let connections = Connections::default();
    let router = routes::router(app);
    let accepting = tokio::spawn(connections.clone().accept(listener, router));
    let failed = wait_for_stop(&mut engine.loaded, signals, &status, &load_cancel).await;
    status.enter(Phase::Draining);
    accepting.abort();
    // The task holds the router, and with it a sender of jobs, until it is gone.
    let _ = accepting.await;
    if connections.drain().await {
        engine.join();
    }
    failed
}

/// Ends at a signal, or with the error of a model that was asked for and does not load.
async fn wait_for_stop(
    loaded: &mut oneshot::Receiver<trice::Result<()>>,
    mut signals: StopSignals,
    status: &Status,
    load_cancel: &Cancel,
) -> anyhow::Result<()> {
    tokio::select! {
        result = loaded => {
            match result {
                Ok(result) => result?,
                Err(_) => anyhow::bail!("the engine thread stopped"),
            }
            print_ready(status)?;
            signals.recv().await;
        }
        () = signals.recv() => load_cancel.cancel(),
    }
    tracing::info!("stopping: waiting for running requests; a second signal stops at once");
    tokio::spawn(async move {
        signals.recv().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(())
}

/// Says which models can be asked.
fn print_ready(status: &Status) -> io::Result<()> {
    match status.models() {
        Ok(models) => {
            let names: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
            writeln!(io::stdout(), "ready: {}", names.join(", "))
        }
        Err(_) => Ok(()),
    }
}

/// Heard from the first moment to the last: a signal between two listeners would be lost, and with it the stop.
#[cfg(unix)]
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct StopSignals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    async fn recv(&mut self) {
        let _ = self.0.recv().await;
    }
}

/// The first of `ports` that is free.
async fn bind(host: &str, ports: RangeInclusive<u16>) -> trice::Result<TcpListener> {
    let last = *ports.end();
    for port in ports {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port != last => {}
            Err(error) => return Err(trice::Error::io(format!("listening on {host}:{port}"), error)),
        }
    }
    Err(trice::Error::invalid("no port to listen on"))
}

/// The open connections: counted, so that there are not too many, and watched, so that none is cut off at the end.
#[derive(Clone)]
struct Connections {
    slots: Arc<Semaphore>,
    graceful: Arc<GracefulShutdown>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)), graceful: Arc::default() }
    }
}

impl Connections {
    async fn accept(self, listener: TcpListener, router: Router) {
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => self.serve(stream, peer, slot, router.clone()),
                Err(error) => {
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit, router: Router) {
        // Tokens are small packets that should leave at once; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_HEADER_BYTES);
        let connection = builder
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.layer(Extension(Client(peer.ip())))),
            )
            .into_owned();
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, "connection: {error}");
            }
            drop(slot);
        });
    }

    /// Lets running requests finish; false when they take too long.
    async fn drain(self) -> bool {
        let Ok(graceful) = Arc::try_unwrap(self.graceful) else { return false };
        tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await.is_ok()
    }
}
