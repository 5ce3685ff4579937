//! Compiling natively: a few threads take shaders from one queue.

use super::compiler::{DURING, Job, Key, Outcome};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// More threads than this only make drivers wait for each other.
const MAX_THREADS: usize = 8;

/// Threads that end when they are dropped, after the shader each is at.
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// None once no more shaders will come.
    open: Option<Open>,
    results: Receiver<(Key, Outcome)>,
    threads: Vec<JoinHandle<()>>,
}

struct Open {
    /// To the threads.
    jobs: Sender<Job>,
    /// What each is given to answer by.
    answers: Sender<(Key, Outcome)>,
}

struct Shared {
    device: wgpu::Device,
    queue: Mutex<Receiver<Job>>,
    stop: AtomicBool,
}

impl Workers {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let ((jobs, queue), (answers, results)) = (channel(), channel());
        let shared = Shared { device: device.clone(), queue: Mutex::new(queue), stop: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), open: Some(Open { jobs, answers }), results, threads: Vec::new() }
    }

    /// Begins to compile.
    pub(super) fn add(&mut self, job: Job) {
        let Some(Open { jobs, answers }) = &self.open else { return };
        let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS);
        if self.threads.len() < n_threads {
            let (shared, answers) = (self.shared.clone(), answers.clone());
            self.threads.push(std::thread::spawn(move || work(&shared, &answers)));
        }
        // The queue lives as long as `shared`.
        let _ = jobs.send(job);
    }

    /// The next shader that is done; to be called as often as `add` was, and after the last of that.
    pub(super) async fn next(&mut self) -> Result<(Key, Outcome)> {
        // Nothing is left open that would make this wait for a thread that has panicked.
        self.open = None;
        let gone = |_| Error::Gpu { during: DURING, reason: "a thread that compiled them ended".into() };
        self.results.recv().map_err(gone)
    }
}

fn work(shared: &Shared, results: &Sender<(Key, Outcome)>) {
    // The lock is held while waiting, so one thread waits for the queue and the others for the lock.
    let next = || shared.queue.lock().ok()?.recv().ok();
    while let Some(job) = next() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        // Error scopes are each thread's own.
        let scope = shared.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = job.compile(&shared.device);
        let error = pollster::block_on(scope.pop());
        let outcome = error.map_or(Ok(pipeline), |error| Err(error.to_string()));
        if results.send((job.key, outcome)).is_err() {
            return;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.open = None;
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
