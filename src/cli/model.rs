//! From a MODEL argument to an opened checkpoint, and what kind of model it holds.

use super::args::{KvTypeArg, LoadArgs, LongArg, Lora, OverflowArg, SpeculateArg, SpeculateArgs, WeightArgs};
use super::context::Context;
use super::interrupt::Interrupt;
use super::progress::Bar;
use std::rc::Rc;
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::hub::{self, DownloadProgress, HubOptions, ModelName};
use trice::model::config::{self, Kind};
use trice::session::{Cancel, KvType, LoadOptions, Overflow, Session, Speculate};
use trice::tasks::{Long, TextEncoder};

/// What `chat` and `bench` use when no model is named.
pub(crate) const DEFAULT_DECODER: &str = "builtin:stories";
/// What `classify` uses when neither a model nor labels are named.
pub(crate) const DEFAULT_CLASSIFIER: &str = "builtin:sentiment";
/// What vectors come from when no model is named: those of `embed` and `rerank`, and `classify`'s for own labels and heads.
pub(crate) const DEFAULT_EMBEDDER: &str = "builtin:embed";

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

impl WeightArgs {
    /// Opens a model, its float weights to be rounded as they are read, with its adapters laid on it.
    pub(crate) async fn open(
        &self,
        name: &str,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> trice::Result<Checkpoint> {
        let mut checkpoint = open_checkpoint(name, progress).await?;
        if let Some(mix) = &self.load_as {
            checkpoint = checkpoint.load_as(mix)?;
        }
        for Lora { name, strength } in &self.lora {
            let files = hub::open(&ModelName::parse(name)?, &HubOptions::default(), progress).await?;
            checkpoint.adapt(files, *strength).await?;
        }
        Ok(checkpoint)
    }

    /// The same for another model: adapters are one model's.
    pub(crate) fn of_draft(&self) -> Self {
        Self { lora: Vec::new(), ..self.clone() }
    }
}

impl LoadArgs {
    /// A model with these weights, loaded as if nothing else were asked for.
    pub(crate) fn of_weights(weights: WeightArgs) -> Self {
        Self { ctx: None, kv_type: KvTypeArg::F16, weights, parallel: 1 }
    }

    /// The library's options, stopped by `cancel`.
    pub(crate) fn options(&self, cancel: Cancel) -> LoadOptions {
        LoadOptions {
            context_len: self.ctx.map(|n| n as usize),
            kv_type: match self.kv_type {
                KvTypeArg::F32 => KvType::F32,
                KvTypeArg::F16 => KvType::F16,
                KvTypeArg::Q8 => KvType::Q8,
            },
            parallel: Some(self.parallel),
            speculate: Speculate::Off,
            cancel,
        }
    }
}

impl From<LongArg> for Long {
    fn from(arg: LongArg) -> Self {
        match arg {
            LongArg::Truncate => Self::Truncate,
            LongArg::Windows => Self::Windows,
        }
    }
}

impl From<OverflowArg> for Overflow {
    fn from(arg: OverflowArg) -> Self {
        match arg {
            OverflowArg::Error => Self::Error,
            OverflowArg::Shift => Self::Shift,
            OverflowArg::TruncateMiddle => Self::TruncateMiddle,
        }
    }
}

impl SpeculateArgs {
    /// The library's word for it.
    pub(crate) fn speculate(&self) -> Speculate {
        match (self.speculate, &self.draft) {
            (SpeculateArg::Off, None) => Speculate::Off,
            (SpeculateArg::Lookup, _) | (_, Some(_)) => Speculate::Lookup,
        }
    }
}

/// Opens the file before the GPU, so that a wrong name or a model of the wrong kind is said first.
async fn open_with_gpu(
    context: &Context,
    name: &str,
    weights: &WeightArgs,
    bar: &Bar,
    wanted: Kind,
) -> trice::Result<(Checkpoint, Rc<Gpu>)> {
    let checkpoint = weights.open(name, &mut |progress| bar.download(&progress)).await?;
    match (config::kind(&checkpoint)?, wanted) {
        (Kind::Encoder, Kind::Decoder) => {
            let what = format!("writing text with {name}: it is an encoder, which classifies and embeds");
            Err(trice::Error::unsupported(what))
        }
        (Kind::Decoder, Kind::Encoder) => {
            let what = format!(
                "vectors and labels from {name}: it is a decoder, which writes text, and chooses among --labels"
            );
            Err(trice::Error::unsupported(what))
        }
        (Kind::Decoder, Kind::Decoder) | (Kind::Encoder, Kind::Encoder) => Ok((checkpoint, context.open_gpu().await?)),
    }
}

/// Which kind of model `name` is, by its header.
pub(crate) async fn kind_of(context: &Context, name: &str) -> trice::Result<Kind> {
    let bar = Bar::new(context);
    config::kind(&open_checkpoint(name, &mut |progress| bar.download(&progress)).await?)
}

/// Opens and loads a decoder that writes a token at a time.
pub(crate) async fn load_session(
    context: &Context,
    name: &str,
    load: &LoadArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<Session> {
    load_speculating(context, name, load, &SpeculateArgs::default(), interrupt).await
}

/// Opens and loads a decoder, and the one that drafts for it.
pub(crate) async fn load_speculating(
    context: &Context,
    name: &str,
    load: &LoadArgs,
    speculate: &SpeculateArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<Session> {
    let bar = Bar::new(context);
    let (checkpoint, gpu) = open_with_gpu(context, name, &load.weights, &bar, Kind::Decoder).await?;
    let options = LoadOptions { speculate: speculate.speculate(), ..load.options(interrupt.arm()) };
    let mut session = Session::load(&gpu, &checkpoint, &options, &mut |progress| bar.load(progress)).await?;
    if let Some(draft) = &speculate.draft {
        let draft = load.weights.of_draft().open(draft, &mut |progress| bar.download(&progress)).await?;
        session.draft_with(&draft, &options, &mut |progress| bar.load(progress)).await?;
    }
    Ok(session)
}

/// Opens and loads an encoder.
pub(crate) async fn load_encoder(
    context: &Context,
    name: &str,
    weights: &WeightArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<TextEncoder> {
    let bar = Bar::new(context);
    let (checkpoint, gpu) = open_with_gpu(context, name, weights, &bar, Kind::Encoder).await?;
    let options = LoadOptions { cancel: interrupt.arm(), ..LoadOptions::default() };
    Ok(TextEncoder::load(&gpu, &checkpoint, &options, &mut |progress| bar.load(progress)).await?)
}
