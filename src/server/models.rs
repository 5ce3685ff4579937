//! The models that the engine thread holds.

use super::ServerOptions;
use super::state::ServedModel;
use crate::cli::open_gpu;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use trice::gpu::Gpu;
use trice::model::config::{self, Kind};
use trice::session::Session;
use trice::tasks::TextEncoder;
use trice::{Error, Result};

/// A model on the GPU.
pub(crate) enum Loaded {
    Decoder(Box<Decoder>),
    Encoder(Box<TextEncoder>),
}

/// A decoder, and the bytes of each of its tokens once someone has asked for log-probabilities.
pub(crate) struct Decoder {
    pub(crate) session: Session,
    pieces: Option<Rc<[Vec<u8>]>>,
}

impl Loaded {
    /// The device it is on.
    pub(crate) fn gpu(&self) -> &Rc<Gpu> {
        match self {
            Self::Decoder(decoder) => decoder.session.gpu(),
            Self::Encoder(encoder) => encoder.gpu(),
        }
    }
}

impl Decoder {
    /// The bytes of every token. A table, because the session is busy generating when they are needed.
    pub(crate) fn pieces(&mut self) -> Rc<[Vec<u8>]> {
        let tokenizer = self.session.tokenizer();
        let table = || (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.piece(id).to_vec()).collect();
        self.pieces.get_or_insert_with(table).clone()
    }
}

/// Every model, and what requests know of it, in the same order.
pub(crate) struct Models {
    pub(crate) loaded: Vec<Loaded>,
    pub(crate) served: Arc<[ServedModel]>,
}

impl Models {
    /// Opens the GPU and loads every model. Of the default models, those that load are enough.
    pub(crate) async fn load(options: &ServerOptions) -> Result<Self> {
        let gpu = Rc::new(open_gpu(options.device.as_deref(), &options.variants).await?);
        let (mut loaded, mut served) = (Vec::new(), Vec::new());
        let mut refused = None;
        for name in &options.models {
            match load_one(&gpu, name, options).await {
                Ok((model, facts)) => {
                    loaded.push(model);
                    served.push(facts);
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) if options.models_are_defaults => {
                    tracing::warn!("{name}: {error}");
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if loaded.is_empty() => Err(error),
            _ => Ok(Self { loaded, served: served.into() }),
        }
    }
}

async fn load_one(gpu: &Rc<Gpu>, name: &str, options: &ServerOptions) -> Result<(Loaded, ServedModel)> {
    let checkpoint = options.weights.open(name, &mut |_| {}).await?;
    let kind = config::kind(&checkpoint)?;
    let (model, info, classifies) = match kind {
        Kind::Decoder => {
            let mut session = Session::load(gpu, &checkpoint, &options.load, &mut |_| {}).await?;
            if let Some(draft) = &options.draft {
                let draft = options.weights.of_draft().open(draft, &mut |_| {}).await?;
                session.draft_with(&draft, &options.load, &mut |_| {}).await?;
            }
            let info = session.info().clone();
            (Loaded::Decoder(Box::new(Decoder { session, pieces: None })), info, false)
        }
        Kind::Encoder => {
            let encoder = TextEncoder::load(gpu, &checkpoint, &options.load, &mut |_| {}).await?;
            // One label alone is a score: of how well a text answers a query.
            let (info, classifies) = (encoder.info().clone(), encoder.labels().len() > 1);
            (Loaded::Encoder(Box::new(encoder)), info, classifies)
        }
    };
    let facts = ServedModel {
        id: info.name,
        asked_as: name.to_owned(),
        kind,
        classifies,
        context_len: info.context_len,
        created: unix_time(),
    };
    Ok((model, facts))
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
