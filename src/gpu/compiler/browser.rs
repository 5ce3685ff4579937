//! Compiling in a browser: a pipeline is asked for at once and compiled by its GPU process, several beside each other and beside the
//! copying of weights.
//!
//! wgpu 30 knows the call alone that makes that process compile one after another and do nothing else meanwhile. So the page's
//! shim (web/shim.js) asks by the other one, and leaves its promise where this looks for it; kept there again, the pipeline is what the
//! next call gives.

use super::compiler::{DURING, Job, Key, Outcome};
use crate::error::{Error, Result};
use crate::source::LocalFuture;
use crate::source::fetch::words;
use js_sys::{Promise, Reflect};
use std::collections::VecDeque;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Where the shim and this leave things for each other.
const SHELF: &str = "tricePipeline";

/// Pipelines that were asked for.
pub(super) struct Workers {
    device: wgpu::Device,
    under_way: VecDeque<UnderWay>,
}

struct UnderWay {
    job: Job,
    /// What the call gave: a pipeline only where there is no shim.
    pipeline: wgpu::ComputePipeline,
    /// Of the pipeline, where there is a shim.
    promise: Option<JsFuture>,
    /// What is wrong with the shader.
    verdict: LocalFuture<'static, Option<wgpu::Error>>,
}

impl Workers {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        Self { device: device.clone(), under_way: VecDeque::new() }
    }

    /// Begins to compile.
    pub(super) fn add(&mut self, mut job: Job) {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = job.compile(&self.device);
        let verdict = Box::pin(scope.pop());
        let promise = take_promise().map(JsFuture::from);
        if promise.is_some() {
            // Nobody reads it again: what is compiled comes without.
            job.wgsl = String::new();
        }
        self.under_way.push_back(UnderWay { job, pipeline, promise, verdict });
    }

    /// The next shader that is done; to be called as often as `add` was, and after the last of that.
    pub(super) async fn next(&mut self) -> Result<(Key, Outcome)> {
        let nothing = || Error::Gpu { during: DURING, reason: "no shader is under way".into() };
        let under_way = self.under_way.pop_front().ok_or_else(nothing)?;
        let key = under_way.job.key.clone();
        Ok((key, under_way.outcome(&self.device).await))
    }
}

impl UnderWay {
    async fn outcome(self, device: &wgpu::Device) -> Outcome {
        let wrong = self.verdict.await;
        let compiled = match self.promise {
            Some(promise) => Some(promise.await),
            None => None,
        };
        if let Some(error) = wrong {
            return Err(error.to_string());
        }
        match compiled {
            None => Ok(self.pipeline),
            Some(Err(error)) => Err(words(&error)),
            Some(Ok(compiled)) => {
                put(&compiled);
                Ok(self.job.compile(device))
            }
        }
    }
}

fn take_promise() -> Option<Promise> {
    let promise = Reflect::get(&js_sys::global(), &SHELF.into()).ok()?.dyn_into().ok()?;
    put(&JsValue::UNDEFINED);
    Some(promise)
}

fn put(value: &JsValue) {
    // A plain property of a plain object takes every value.
    let _ = Reflect::set(&js_sys::global(), &SHELF.into(), value);
}
