//! Compiling in a browser: a pipeline is asked for at once, its GPU process compiles it, and the answer to an error scope
//! around the asking tells when it is done.

use super::compiler::{DURING, Job, Key, Outcome};
use crate::error::{Error, Result};
use crate::source::LocalFuture;
use std::collections::VecDeque;

/// Pipelines that were asked for.
pub(super) struct Workers {
    device: wgpu::Device,
    under_way: VecDeque<(Key, wgpu::ComputePipeline, LocalFuture<'static, Option<wgpu::Error>>)>,
}

impl Workers {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        Self { device: device.clone(), under_way: VecDeque::new() }
    }

    /// Begins to compile.
    pub(super) fn add(&mut self, job: Job) {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = job.compile(&self.device);
        self.under_way.push_back((job.key, pipeline, Box::pin(scope.pop())));
    }

    /// The next shader that is done; to be called as often as `add` was, and after the last of that.
    pub(super) async fn next(&mut self) -> Result<(Key, Outcome)> {
        let nothing = || Error::Gpu { during: DURING, reason: "no shader is under way".into() };
        let (key, pipeline, verdict) = self.under_way.pop_front().ok_or_else(nothing)?;
        Ok((key, verdict.await.map_or(Ok(pipeline), |error| Err(error.to_string()))))
    }
}
