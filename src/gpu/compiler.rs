//! Programs in the making. Bind groups are made at once; shaders compile beside whatever the caller does meanwhile, such as
//! reading weights: natively on threads (`compiler/threads.rs`), in a browser in its GPU process (`compiler/browser.rs`).

use super::program::{self, Program, Recording};
use super::shader::{Kernel, Variant, compose};
use super::workers::Workers;
use super::{Gpu, Pipeline};
use crate::error::{Error, Result};
use crate::source::LocalFuture;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

pub(super) const DURING: &str = "compiling shaders";

/// Names a shader of a device.
pub(super) type Key = (&'static str, Variant);

/// What a worker turns into a pipeline.
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) kernel: &'static Kernel,
    pub(super) wgsl: String,
    pub(super) layout: wgpu::BindGroupLayout,
    /// Of earlier runs, where they are kept.
    pub(super) cache: Option<wgpu::PipelineCache>,
}

impl Job {
    pub(super) fn compile(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        program::compile(device, self.kernel, &self.wgsl, &self.layout, self.cache.as_ref())
    }
}

/// A compiled shader, or the driver's words.
pub(super) type Outcome = std::result::Result<wgpu::ComputePipeline, String>;

/// Makes programs. They may be run once `finish` has succeeded; dropping it before that stops the compiling.
pub struct Compiler<'g> {
    gpu: &'g Gpu,
    /// All that the programs need, known before or under way.
    wanted: HashMap<Key, Rc<Pipeline>>,
    n_under_way: usize,
    workers: Workers,
    /// What the driver says of layouts and bind groups.
    verdicts: Vec<LocalFuture<'static, Option<wgpu::Error>>>,
}

impl<'g> Compiler<'g> {
    pub(super) fn new(gpu: &'g Gpu) -> Self {
        let workers = Workers::new(&gpu.device);
        Self { gpu, wanted: HashMap::new(), n_under_way: 0, workers, verdicts: Vec::new() }
    }

    /// The device.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Makes the bind groups of `recording` and begins to compile the shaders that are not known yet.
    ///
    /// # Errors
    /// `Limit` when a binding does not fit.
    pub fn program(&mut self, recording: &Recording) -> Result<Program> {
        let gpu = self.gpu;
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let program = Program::build(gpu, recording, &mut |kernel, variant| self.pipeline(kernel, variant));
        self.verdicts.push(Box::pin(scope.pop()));
        program
    }

    fn pipeline(&mut self, kernel: &'static Kernel, variant: &Variant) -> Rc<Pipeline> {
        let key = (kernel.name, variant.clone());
        if let Some(known) = self.wanted.get(&key) {
            return known.clone();
        }
        let known = self.gpu.pipelines.borrow().get(&key).cloned();
        let pipeline = known.unwrap_or_else(|| self.begin(key.clone(), kernel));
        self.wanted.insert(key, pipeline.clone());
        pipeline
    }

    fn begin(&mut self, key: Key, kernel: &'static Kernel) -> Rc<Pipeline> {
        let layout = program::layout(&self.gpu.device, kernel);
        let wgsl = compose(kernel, &key.1, &self.gpu.caps());
        let cache = self.gpu.kept.get().map(|kept| kept.cache.clone());
        self.workers.add(Job { key, kernel, wgsl, layout: layout.clone(), cache });
        self.n_under_way += 1;
        Rc::new(Pipeline { layout, compiled: OnceCell::new() })
    }

    /// Waits until all shaders are compiled; `on_pipeline` hears how many are, of how many, and may end it by an error.
    ///
    /// # Errors
    /// `Gpu` when a shader does not compile or a bind group is wrong, with the driver's words.
    pub async fn finish(mut self, on_pipeline: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<()> {
        let failed = |reason: String| Error::Gpu { during: DURING, reason };
        let (n_all, n_new) = (self.wanted.len(), self.n_under_way);
        on_pipeline(n_all - n_new, n_all)?;
        for n_left in (0..n_new).rev() {
            let (key, outcome) = self.workers.next().await?;
            let compiled = outcome.map_err(|words| failed(format!("{} [{}]: {words}", key.0, key.1.label())))?;
            if let Some(pipeline) = self.wanted.get(&key) {
                // Each key is compiled once.
                let _ = pipeline.compiled.set(compiled);
            }
            on_pipeline(n_all - n_left, n_all)?;
        }
        for verdict in std::mem::take(&mut self.verdicts) {
            if let Some(error) = verdict.await {
                return Err(failed(error.to_string()));
            }
        }
        self.gpu.check(DURING)?;
        self.gpu.pipelines.borrow_mut().extend(std::mem::take(&mut self.wanted));
        if n_new > 0 {
            self.gpu.offer_pipelines();
        }
        Ok(())
    }
}
