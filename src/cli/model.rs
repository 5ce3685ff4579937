//! From a MODEL argument to an opened checkpoint, and what kind of model it holds.

use super::args::{KvTypeArg, LoadArgs};
use super::context::Context;
use super::interrupt::Interrupt;
use super::progress::Bar;
use std::rc::Rc;
use trice::format::{Checkpoint, Config};
use trice::gpu::Gpu;
use trice::hub::{self, DownloadProgress, HubOptions, ModelName};
use trice::session::{Cancel, KvType, LoadOptions, Session};
use trice::tasks::TextEncoder;

/// What `chat` and `bench` use when no model is named.
pub(crate) const DEFAULT_DECODER: &str = "builtin:stories";
/// What `classify` and `embed` use when no model is named.
pub(crate) const DEFAULT_ENCODER: &str = "builtin:sentiment";

/// Which of the two forward passes a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModelKind {
    /// Continues text.
    Decoder,
    /// Turns text into vectors and labels.
    Encoder,
}

impl ModelKind {
    /// By the architecture's name: the BERT family are encoders.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        if architecture(checkpoint).contains("bert") { Self::Encoder } else { Self::Decoder }
    }
}

/// The architecture's name as the file gives it; empty when it gives none.
pub(crate) fn architecture(checkpoint: &Checkpoint) -> String {
    match checkpoint.config() {
        Config::Gguf(metadata) => metadata.string("general.architecture").unwrap_or_default().to_string(),
        Config::HuggingFace(config) => config["model_type"].as_str().unwrap_or_default().to_string(),
    }
}

/// Opens a model by name, downloading it first where needed.
pub(crate) async fn open_checkpoint(
    name: &str,
    progress: &mut dyn FnMut(DownloadProgress),
) -> trice::Result<Checkpoint> {
    match ModelName::parse(name)? {
        ModelName::Random(_) => Checkpoint::random(name),
        parsed => Checkpoint::open(hub::open(&parsed, &HubOptions::default(), progress).await?).await,
    }
}

impl LoadArgs {
    /// The library's options, stopped by `cancel`.
    pub(crate) fn options(&self, cancel: Cancel) -> LoadOptions {
        LoadOptions {
            context_len: self.ctx.map(|n| n as usize),
            kv_type: match self.kv_type {
                KvTypeArg::F32 => KvType::F32,
                KvTypeArg::F16 => KvType::F16,
            },
            cancel,
        }
    }
}

/// Opens the file before the GPU, so that a wrong name is said first.
async fn open_with_bar(context: &Context, name: &str, bar: &Bar) -> trice::Result<(Checkpoint, Rc<Gpu>)> {
    let checkpoint = open_checkpoint(name, &mut |progress| bar.download(&progress)).await?;
    let gpu = context.open_gpu().await?;
    Ok((checkpoint, gpu))
}

/// Opens and loads a decoder.
pub(crate) async fn load_session(
    context: &Context,
    name: &str,
    load: &LoadArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<Session> {
    let bar = Bar::new(context);
    let (checkpoint, gpu) = open_with_bar(context, name, &bar).await?;
    if ModelKind::of(&checkpoint) == ModelKind::Encoder {
        let what = format!("{name} is an encoder: it classifies and embeds, it does not write text");
        return Err(trice::Error::unsupported(what).into());
    }
    let options = load.options(interrupt.arm());
    Ok(Session::load(&gpu, &checkpoint, &options, &mut |progress| bar.load(progress)).await?)
}

/// Opens and loads an encoder.
pub(crate) async fn load_encoder(context: &Context, name: &str, interrupt: &Interrupt) -> anyhow::Result<TextEncoder> {
    let bar = Bar::new(context);
    let (checkpoint, gpu) = open_with_bar(context, name, &bar).await?;
    let options = LoadOptions { cancel: interrupt.arm(), ..LoadOptions::default() };
    Ok(TextEncoder::load(&gpu, &checkpoint, &options, &mut |progress| bar.load(progress)).await?)
}
