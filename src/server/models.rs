//! The models that the engine thread holds.

use super::ServerOptions;
use super::state::{ServedModel, Task};
use crate::cli::open_gpu;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use trice::gpu::Gpu;
use trice::model::config::{self, Kind};
use trice::session::{ModelInfo, Session};
use trice::tasks::TextEncoder;
use trice::{Error, Result};

/// A model on the GPU.
pub(crate) enum Loaded {
    Decoder(Box<Session>),
    Encoder(Box<TextEncoder>),
}

/// The models, and what requests know of them, in the same order.
pub(crate) struct Models {
    pub(crate) gpu: Rc<Gpu>,
    /// None where one was unloaded to make room for others.
    pub(crate) loaded: Vec<Option<Loaded>>,
    pub(crate) served: Arc<[ServedModel]>,
    /// Those that are loaded, the one used last at the end.
    recent: Vec<usize>,
}

impl Models {
    /// Opens the GPU and loads every model, the first named last: those named beyond the limit are unloaded again. Of the default
    /// models, those that load are enough.
    pub(crate) async fn load(options: &ServerOptions) -> Result<Self> {
        let gpu = Rc::new(open_gpu(options.device.as_deref(), &options.variants).await?);
        let mut all: Vec<(Option<Loaded>, ServedModel)> = Vec::new();
        let mut refused = None;
        for name in options.models.iter().rev() {
            if let Some(beyond) = all.len().checked_sub(options.max_models) {
                all[beyond].0 = None;
            }
            match load_one(&gpu, name, options).await {
                Ok((model, facts)) => all.push((Some(model), facts)),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) if options.models_are_defaults => {
                    tracing::warn!("{name}: {error}");
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (Some(error), true) = (refused, all.is_empty()) {
            return Err(error);
        }
        let (loaded, served): (Vec<_>, Vec<_>) = all.into_iter().rev().unzip();
        let recent = (0..loaded.len()).rev().filter(|index| loaded[*index].is_some()).collect();
        Ok(Self { gpu, loaded, served: served.into(), recent })
    }

    /// A model, once it is loaded: where there are too many, instead of those that nobody has asked for the longest.
    pub(crate) async fn get(&mut self, index: usize, options: &ServerOptions) -> Result<&mut Loaded> {
        self.recent.retain(|other| *other != index);
        if self.loaded[index].is_none() {
            while self.recent.len() >= options.max_models {
                let oldest = self.recent.remove(0);
                self.loaded[oldest] = None;
                tracing::info!(model = %self.served[oldest].id, "unloaded");
            }
            let (model, _) = load_one(&self.gpu, &self.served[index].asked_as, options).await?;
            self.loaded[index] = Some(model);
            tracing::info!(model = %self.served[index].id, "loaded");
        }
        self.recent.push(index);
        self.loaded[index].as_mut().ok_or(Error::Cancelled)
    }
}

async fn load_one(gpu: &Rc<Gpu>, name: &str, options: &ServerOptions) -> Result<(Loaded, ServedModel)> {
    let checkpoint = options.weights.open(name, &mut |_| {}).await?;
    let (model, info, task) = match config::kind(&checkpoint)? {
        Kind::Decoder => {
            let mut session = Session::load(gpu, &checkpoint, &options.load, &mut |_| {}).await?;
            if let Some(draft) = &options.draft {
                let draft = options.weights.of_draft().open(draft, &mut |_| {}).await?;
                session.draft_with(&draft, &options.load, &mut |_| {}).await?;
            }
            let info = session.info().clone();
            (Loaded::Decoder(Box::new(session)), info, Task::Generate)
        }
        Kind::Encoder => {
            let encoder = TextEncoder::load(gpu, &checkpoint, &options.load, &mut |_| {}).await?;
            let (info, task) = (encoder.info().clone(), Task::of(&encoder));
            (Loaded::Encoder(Box::new(encoder)), info, task)
        }
    };
    let (asked_as, created, about) = (name.to_owned(), unix_time(), about(gpu, &model, &info));
    Ok((model, ServedModel { id: info.name, asked_as, task, context_len: info.context_len, created, about }))
}

/// As the page shows models, which may run on this program instead of its own GPU.
fn about(gpu: &Gpu, model: &Loaded, info: &ModelInfo) -> Value {
    let (has_template, labels): (bool, &[String]) = match model {
        Loaded::Decoder(session) => (session.chats(), &[]),
        Loaded::Encoder(encoder) => (false, encoder.labels()),
    };
    json!({
        "architecture": info.architecture, "n_params": info.n_params, "weight_bytes": info.weight_bytes,
        "has_template": has_template, "labels": labels, "device": gpu.info(),
    })
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
