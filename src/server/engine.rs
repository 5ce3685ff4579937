//! The one thread that owns the GPU and the models. Requests come through a queue, answers go back through channels;
//! nothing of the GPU ever leaves this thread.

use super::ServerOptions;
use super::error::ApiError;
use super::metrics::Waiting;
use super::models::Models;
use super::parallel;
use super::queue::{Client, Queue};
use super::state::{Phase, Status};
use super::work::{self, Work};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use trice::gpu::Gpu;
use trice::session::Cancel;

/// Templates and shaders are compiled recursively on this thread.
const STACK_BYTES: usize = 64 << 20;

/// One request for the engine.
pub(crate) struct Job {
    pub(crate) client: Client,
    /// Which model.
    pub(crate) model: usize,
    /// Set when the client is gone.
    pub(crate) cancel: Cancel,
    /// When the answer must be done.
    pub(crate) deadline: Instant,
    pub(crate) waiting: Waiting,
    pub(crate) work: Work,
}

/// The engine's thread and the ways to it.
pub(crate) struct Engine {
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    /// How loading went; an error only when models were asked for by name.
    pub(crate) loaded: oneshot::Receiver<trice::Result<()>>,
    thread: JoinHandle<()>,
}

/// How long the end of the program waits for the engine to let go of the GPU.
const JOIN_TIME: Duration = Duration::from_secs(10);

impl Engine {
    /// Starts loading.
    pub(crate) fn start(options: ServerOptions, status: Status) -> io::Result<Self> {
        let (jobs, queue) = Queue::new();
        let (report, loaded) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("engine".to_string())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&options, &status, queue, report))?;
        Ok(Self { jobs, loaded, thread })
    }

    /// Waits until the thread has let go of the GPU; every sender of jobs must be gone.
    pub(crate) fn join(self) {
        drop(self.jobs);
        let start = Instant::now();
        while !self.thread.is_finished() {
            if start.elapsed() > JOIN_TIME {
                tracing::warn!("the engine thread is still at work; ending without it");
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if self.thread.join().is_err() {
            tracing::error!("the engine thread panicked");
        }
    }
}

fn run(options: &ServerOptions, status: &Status, mut queue: Queue, report: oneshot::Sender<trice::Result<()>>) {
    let mut models = match load(options, status) {
        Ok(models) => {
            let _ = report.send(Ok(()));
            Some(models)
        }
        Err(error) if options.models_are_defaults => {
            tracing::error!("the API has no model, the page works without: {error}");
            let _ = report.send(Ok(()));
            None
        }
        Err(error) => {
            let _ = report.send(Err(error));
            None
        }
    };
    while let Some(job) = queue.next() {
        let Some(loaded) = &mut models else {
            job.work.fail(&ApiError::unavailable("no_model", "no model is loaded"));
            continue;
        };
        // After a lost device everything is loaded again, once.
        if perform(loaded, options, job, &mut queue) == Health::Broken {
            drop(models.take());
            models = load(options, status).inspect_err(|error| tracing::error!("loading again: {error}")).ok();
        }
    }
}

fn load(options: &ServerOptions, status: &Status) -> trice::Result<Models> {
    status.enter(Phase::Loading);
    let loaded = catch_unwind(AssertUnwindSafe(|| pollster::block_on(Models::load(options))));
    let loaded = loaded
        .unwrap_or_else(|_| Err(trice::Error::Gpu { during: "loading", reason: "the engine panicked".to_string() }));
    match &loaded {
        Ok(models) => {
            for model in models.served.iter() {
                tracing::info!(model = %model.id, task = model.task.name(), context_len = model.context_len, "loaded");
            }
            status.enter(Phase::Ready(models.served.clone()));
        }
        Err(error) => status.enter(Phase::Failed(error.to_string())),
    }
    loaded
}

/// Whether the device can be used for the next request.
#[derive(PartialEq, Eq)]
enum Health {
    Sound,
    Broken,
}

/// An error may be the request's own doing, such as outputs that are not numbers: only the device's state counts.
fn health_after(error: &trice::Error, gpu: &Gpu) -> Health {
    if gpu.check("after a failed request").is_err() {
        tracing::error!("{error}; loading again");
        return Health::Broken;
    }
    if matches!(error, trice::Error::Gpu { .. }) {
        tracing::error!("{error}");
    }
    Health::Sound
}

/// Runs one job, and those that may run beside it. A panic costs these requests, not the server.
fn perform(models: &mut Models, options: &ServerOptions, job: Job, queue: &mut Queue) -> Health {
    if job.cancel.is_cancelled() {
        return Health::Sound;
    }
    let gpu = models.gpu.clone();
    let run = async {
        match models.get(job.model, options).await {
            Ok(model) if !parallel::may_share(model, &job.work) => work::perform(model, job).await,
            Ok(_) => parallel::perform(&mut models.loaded, job, queue).await,
            Err(error) => {
                job.work.fail(&ApiError::unavailable("load_failed", error.to_string()));
                Err(error)
            }
        }
    };
    match catch_unwind(AssertUnwindSafe(|| pollster::block_on(run))) {
        Ok(Ok(())) => Health::Sound,
        Ok(Err(error)) => health_after(&error, &gpu),
        // The answer's channel closed with the panic, which the client sees as an error.
        Err(_) => Health::Broken,
    }
}
