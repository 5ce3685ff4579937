//! What the server's threads share: which models there are, whether they are ready, and the way to the engine.

use super::engine::Job;
use super::error::ApiError;
use super::guard::Guard;
use super::metrics::Metrics;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use trice::model::config::{HeadOf, Kind};
use trice::session::Overflow;
use trice::tasks::TextEncoder;

/// A loaded model, as requests name it.
#[derive(Clone, Debug)]
pub(crate) struct ServedModel {
    /// The model's own name.
    pub(crate) id: String,
    /// What it was called on the command line.
    pub(crate) asked_as: String,
    pub(crate) task: Task,
    /// Tokens of context.
    pub(crate) context_len: usize,
    /// Unix time of the load.
    pub(crate) created: u64,
    /// Further facts for those who list models: what it is, what it can say, where it runs.
    pub(crate) about: Value,
}

/// What a model is made for, and what a request wants of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Generate,
    Embed,
    Classify,
    Rank,
    Tag,
    Answer,
    Fill,
}

impl Task {
    /// What an encoder's head is for.
    pub(crate) fn of(encoder: &TextEncoder) -> Self {
        match encoder.head() {
            None => Self::Embed,
            // One label alone is a score: of how well a text answers a query.
            Some(HeadOf::Text(_)) if encoder.labels().len() > 1 => Self::Classify,
            Some(HeadOf::Text(_)) => Self::Rank,
            Some(HeadOf::Token) => Self::Tag,
            Some(HeadOf::Answer) => Self::Answer,
            Some(HeadOf::Mask) => Self::Fill,
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Generate => Kind::Decoder,
            Self::Embed | Self::Classify | Self::Rank | Self::Tag | Self::Answer | Self::Fill => Kind::Encoder,
        }
    }

    /// As model hubs call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generate => "text-generation",
            Self::Embed => "feature-extraction",
            Self::Classify => "text-classification",
            Self::Rank => "text-ranking",
            Self::Tag => "token-classification",
            Self::Answer => "question-answering",
            Self::Fill => "fill-mask",
        }
    }

    /// How well a model of `other` does instead, best first. Vectors rank too, and every encoder has some.
    fn distance(self, other: Self) -> Option<u8> {
        match (self, other) {
            _ if self == other => Some(0),
            (Self::Rank, Self::Embed) => Some(1),
            _ if self.kind() == other.kind() => Some(2),
            _ => None,
        }
    }
}

/// Whether requests can be answered.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Loading,
    Ready(Arc<[ServedModel]>),
    /// Nothing could be loaded: the page still works, the API does not.
    Failed(String),
    /// Asked to stop: what runs is finished, nothing new begins.
    Draining,
}

/// The phase, written by the engine and by the shutdown, read by every request.
#[derive(Clone)]
pub(crate) struct Status(Arc<Mutex<Phase>>);

impl Status {
    pub(crate) fn loading() -> Self {
        Self(Arc::new(Mutex::new(Phase::Loading)))
    }

    /// Enters a phase; nothing follows draining.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*current, Phase::Draining) {
            *current = phase;
        }
    }

    /// The loaded models, or why there are none.
    pub(crate) fn models(&self) -> Result<Arc<[ServedModel]>, ApiError> {
        let phase = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match phase {
            Phase::Ready(models) => Ok(models),
            Phase::Loading => Err(ApiError::unavailable("loading", "the model is loading")),
            Phase::Failed(reason) => Err(ApiError::unavailable("no_model", format!("no model is loaded: {reason}"))),
            Phase::Draining => Err(ApiError::unavailable("draining", "the server is shutting down")),
        }
    }
}

/// What every handler sees.
pub(crate) struct State {
    pub(crate) status: Status,
    pub(crate) guard: Guard,
    pub(crate) metrics: Arc<Metrics>,
    /// Folder of the page.
    pub(crate) site: PathBuf,
    /// What happens where a text is longer than the context, when a request does not say.
    pub(crate) overflow: Overflow,
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    /// Places of requests that wait for the GPU.
    pub(crate) places: Arc<Semaphore>,
}

/// The state, cheap to clone.
pub(crate) type App = Arc<State>;

impl State {
    /// A place in the queue; a full one is 503.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_| ApiError::unavailable("queue_full", "too many requests are waiting"))
    }

    /// The index and the facts of the model a request names; none means the first that does best.
    pub(crate) fn model(&self, name: Option<&str>, wanted: Task) -> Result<(usize, ServedModel), ApiError> {
        let (index, model) = self.any_model(name, wanted)?;
        if model.task.kind() != wanted.kind() {
            let message = format!("{} is no {}", model.id, kind_name(wanted.kind()));
            return Err(ApiError::invalid("model", message));
        }
        Ok((index, model))
    }

    /// The same, but a named one may be of either kind.
    pub(crate) fn any_model(&self, name: Option<&str>, wanted: Task) -> Result<(usize, ServedModel), ApiError> {
        let models = self.status.models()?;
        let index = match name {
            Some(name) => models.iter().position(|model| model.id == name || model.asked_as == name),
            None => {
                let fit = |(index, model): (usize, &ServedModel)| Some((wanted.distance(model.task)?, index));
                models.iter().enumerate().filter_map(fit).min().map(|(_, index)| index)
            }
        };
        let Some((index, model)) = index.and_then(|index| Some((index, models.get(index)?))) else {
            return Err(match name {
                Some(_) => ApiError::not_found("no model of that name is loaded; GET /v1/models lists them"),
                None => ApiError::not_found(format!("no {} is loaded", kind_name(wanted.kind()))),
            });
        };
        Ok((index, model.clone()))
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Decoder => "text generator",
        Kind::Encoder => "encoder",
    }
}
