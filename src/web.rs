//! The wasm-bindgen surface: what `web/worker.js` calls. Thin: it turns JS values into the library's requests and the
//! library's results and errors into JS values. Holds no logic of models, prompts or pages.

mod convert;
mod encoder_requests;
mod grammars;
mod requests;
mod store;
mod table;

use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::gpu::Gpu;
use crate::hub::{self, ModelName};
use crate::kernels::tune::{Tunings, tune};
use crate::measure::{self, BenchReport};
use crate::model::config::{self, Kind};
use crate::session::{Cancel, Generation, Piece, Progress, Session};
use crate::tasks::TextEncoder;
use convert::{call, from_js, to_js, to_js_error};
use encoder_requests::{AnswerRequest, ClassifyRequest, EmbedRequest, FillRequest, TagRequest};
use grammars::GrammarModule;
use js_sys::Function;
use requests::{
    BenchRequest, CreateRequest, Generate, GenerateRequest, LoadRequest, ModelDescription, PieceEvent, RunEvent,
};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

pub use store::{FileDigest, PieceSum, check_reply, remote_files, repo_choices};
pub use table::Table;

/// The one model of an engine.
enum Model {
    Decoder(Box<Session>),
    Encoder(Box<TextEncoder>),
}

impl Model {
    fn describe(&self) -> ModelDescription<'_> {
        match self {
            Self::Decoder(session) => ModelDescription::decoder(session),
            Self::Encoder(encoder) => ModelDescription::encoder(encoder),
        }
    }
}

/// A device and at most one model on it. Methods that work on the model run one at a time; `cancel` may be called while
/// one of them awaits the GPU or the network.
#[wasm_bindgen]
pub struct Engine {
    gpu: Rc<Gpu>,
    tunings: RefCell<Tunings>,
    model: RefCell<Option<Model>>,
    cancel: RefCell<Cancel>,
    grammars: GrammarModule,
}

#[wasm_bindgen]
impl Engine {
    /// Opens the device. `options`: `{device?, tunings?}`: a part of an adapter's name, and what `tune` gave before.
    /// `instantiate_grammars()` resolves to a new instance of the module of grammars; it is called once an answer has one.
    pub async fn create(options: JsValue, instantiate_grammars: Function) -> Result<Self, JsValue> {
        console_error_panic_hook::set_once();
        Self::open(options, instantiate_grammars).await.map_err(to_js_error)
    }

    /// The adapters the browser offers; empty where there is none.
    pub async fn adapters() -> Result<JsValue, JsValue> {
        to_js(&Gpu::adapters().await).map_err(to_js_error)
    }

    /// What the device is and can do.
    #[wasm_bindgen(js_name = deviceInfo)]
    pub fn device_info(&self) -> Result<JsValue, JsValue> {
        to_js(self.gpu.info()).map_err(to_js_error)
    }

    /// Whether the device is gone: nothing works on it any more.
    #[wasm_bindgen(getter, js_name = isLost)]
    pub fn is_lost(&self) -> bool {
        self.gpu.is_lost()
    }

    /// Whether the fastest shaders of this device are known.
    #[wasm_bindgen(getter, js_name = isTuned)]
    pub fn is_tuned(&self) -> bool {
        self.tunings.borrow().of(self.gpu.info()).is_some()
    }

    /// Measures which shaders are fastest on this device, in about a second, for models loaded from now on. Resolves to
    /// text to be kept and given to `create` next time.
    pub async fn tune(&self) -> Result<String, JsValue> {
        let choices = tune(&self.gpu).await.map_err(to_js_error)?;
        self.gpu.choose(choices);
        self.tunings.borrow_mut().keep(self.gpu.info(), choices);
        Ok(self.tunings.borrow().to_json())
    }

    /// Loads a model in place of the one there was and describes it. `source`: a model's name, `[{name, blob}]`, or of the page's
    /// store `{name, files: [{name, file}]}`.
    /// `on_progress({stage, done, total})` is called as bytes arrive and shaders compile.
    pub async fn load(&self, source: JsValue, options: JsValue, on_progress: Function) -> Result<JsValue, JsValue> {
        self.load_model(source, options, &on_progress).await.map_err(to_js_error)?;
        self.info()
    }

    /// Describes the loaded model.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let model = self.model.borrow();
        let model = model.as_ref().ok_or_else(no_model).map_err(to_js_error)?;
        to_js(&model.describe()).map_err(to_js_error)
    }

    /// Generates text. `request`: see `GenerateRequest`; `on_piece({text, tokens, parts?})` is called as text comes. Resolves to
    /// what `trice chat --json` prints.
    pub async fn generate(&self, request: JsValue, on_piece: Function) -> Result<JsValue, JsValue> {
        let generation = self.generate_text(request, &on_piece).await.map_err(to_js_error)?;
        to_js(&generation).map_err(to_js_error)
    }

    /// Lets the last conversation go on in two ways, and resolves to the tokens that both share.
    pub async fn fork(&self) -> Result<usize, JsValue> {
        self.fork_conversation().await.map_err(to_js_error)
    }

    /// Gives the encoder a head that `trice classify --train` has learnt, in place of the one it has, and describes the model.
    /// `source`: `[{name, blob}]` with the head's file.
    #[wasm_bindgen(js_name = loadHead)]
    pub async fn load_head(&self, source: JsValue) -> Result<JsValue, JsValue> {
        self.read_head(source).await.map_err(to_js_error)?;
        self.info()
    }

    /// Labels with scores, best first, for each text: `{labels, …}`. `options`: `{labels?, template?, multiLabel?, long?}`.
    pub async fn classify(&self, texts: JsValue, options: JsValue) -> Result<JsValue, JsValue> {
        self.classify_texts(texts, options).await.map_err(to_js_error)
    }

    /// One vector per text. `options`: `{pooling?, normalize?, long?}`.
    pub async fn embed(&self, texts: JsValue, options: JsValue) -> Result<JsValue, JsValue> {
        self.embed_texts(texts, options).await.map_err(to_js_error)
    }

    /// Named entities of each text: `{entities, …}`; places are counted as JavaScript counts. `options`: `{aggregation?, long?,
    /// stride?}`.
    pub async fn tag(&self, texts: JsValue, options: JsValue) -> Result<JsValue, JsValue> {
        self.tag_texts(texts, options).await.map_err(to_js_error)
    }

    /// Answers out of a context: `{answers, …}`. `options`: `{top?, maxAnswerLen?, maxLen?, stride?, noAnswer?}`.
    pub async fn answer(&self, question: String, context: String, options: JsValue) -> Result<JsValue, JsValue> {
        self.answer_question(&question, &context, options).await.map_err(to_js_error)
    }

    /// Documents in the order in which they answer a query: `[{index, score, …}]`.
    pub async fn rank(&self, query: String, documents: JsValue) -> Result<JsValue, JsValue> {
        self.rank_documents(&query, documents).await.map_err(to_js_error)
    }

    /// Words for the hidden places of each text: `{masks}`. `options`: `{top?}`.
    pub async fn fill(&self, texts: JsValue, options: JsValue) -> Result<JsValue, JsValue> {
        self.fill_texts(texts, options).await.map_err(to_js_error)
    }

    /// Measures speed. `options`: `{prompt?, generate?, batch?, repetitions?}`; `on_run({done, total})` is called after
    /// each run. Resolves to what `trice bench --json` prints.
    pub async fn bench(&self, options: JsValue, on_run: Function) -> Result<JsValue, JsValue> {
        let report = self.bench_model(options, &on_run).await.map_err(to_js_error)?;
        to_js(&report).map_err(to_js_error)
    }

    /// Bytes per second that the device reads at best, measured in about 200 ms.
    pub async fn bandwidth(&self) -> Result<f64, JsValue> {
        measure::read_bandwidth(&self.gpu).await.map_err(to_js_error)
    }

    /// Multiplies weights of every type on the device and compares with the CPU; `on_type({done, total})` is called before each
    /// type and at the end. Resolves to what `trice devices --check --json` lists as `checks`.
    #[wasm_bindgen(js_name = selfTest)]
    pub async fn self_test(&self, on_type: Function) -> Result<JsValue, JsValue> {
        let checks = measure::check(&self.gpu, &mut reporting(&on_type)).await.map_err(to_js_error)?;
        to_js(&checks).map_err(to_js_error)
    }

    /// Stops what is running at its next step; a generation then resolves with what it has.
    pub fn cancel(&self) {
        self.cancel.borrow().cancel();
    }
}

impl Engine {
    async fn open(options: JsValue, instantiate_grammars: Function) -> Result<Self> {
        let request: CreateRequest = from_js("options", options)?;
        let gpu = Gpu::open(request.device.as_deref()).await?;
        let tunings = request.tunings.as_deref().map_or_else(Tunings::default, Tunings::from_json);
        if let Some(choices) = tunings.of(gpu.info()) {
            gpu.choose(choices);
        }
        let tunings = RefCell::new(tunings);
        let grammars = GrammarModule::new(instantiate_grammars);
        Ok(Self { gpu: Rc::new(gpu), tunings, model: RefCell::default(), cancel: RefCell::default(), grammars })
    }

    /// A fresh flag for the work that begins now.
    fn begin(&self) -> Cancel {
        self.cancel.replace(Cancel::default());
        self.cancel.borrow().clone()
    }

    async fn load_model(&self, source: JsValue, options: JsValue, on_progress: &Function) -> Result<()> {
        let request: LoadRequest = from_js("options", options)?;
        self.model.replace(None);
        let cancel = self.begin();
        let mut report = |progress: Progress| {
            if let Ok(event) = to_js(&progress) {
                call(on_progress, &event);
            }
        };
        let checkpoint = open_checkpoint(&source, &request).await?;
        let options = request.load_options(cancel)?;
        let model = match config::kind(&checkpoint)? {
            Kind::Decoder => {
                Model::Decoder(Box::new(Session::load(&self.gpu, &checkpoint, &options, &mut report).await?))
            }
            Kind::Encoder => {
                Model::Encoder(Box::new(TextEncoder::load(&self.gpu, &checkpoint, &options, &mut report).await?))
            }
        };
        self.model.replace(Some(model));
        Ok(())
    }

    /// Takes the model out while `work` awaits, so that a second call finds it busy instead of borrowed.
    async fn with_model<T>(&self, work: impl AsyncFnOnce(&mut Model, Cancel) -> Result<T>) -> Result<T> {
        let mut model = self.model.take().ok_or_else(no_model)?;
        let cancel = self.begin();
        if let Model::Encoder(encoder) = &mut model {
            encoder.set_cancel(cancel.clone());
        }
        let result = work(&mut model, cancel).await;
        self.model.replace(Some(model));
        result
    }

    async fn generate_text(&self, request: JsValue, on_piece: &Function) -> Result<Generation> {
        let request: GenerateRequest = from_js("request", request)?;
        self.with_model(async |model, cancel| {
            let Model::Decoder(session) = model else { return Err(wrong_kind("an encoder", "generate text")) };
            let Generate { prompt, options, mut parser } = request.read(session, cancel)?;
            if options.grammar.is_some() {
                self.grammars.serve(session).await?;
            }
            let tell = |event: &PieceEvent<'_>| {
                if let Ok(event) = to_js(event) {
                    call(on_piece, &event);
                }
            };
            let mut forward = |piece: Piece<'_>| {
                let parts = parser.as_mut().map(|parser| parser.push(piece.text)).unwrap_or_default();
                tell(&PieceEvent { parts, ..PieceEvent::from(piece) });
                ControlFlow::Continue(())
            };
            let generation = session.generate(&prompt, &options, &mut forward).await?;
            let parts = parser.map(|mut parser| parser.finish()).unwrap_or_default();
            if !parts.is_empty() {
                tell(&PieceEvent { parts, ..PieceEvent::default() });
            }
            Ok(generation)
        })
        .await
    }

    async fn fork_conversation(&self) -> Result<usize> {
        self.with_model(async |model, _| match model {
            Model::Decoder(session) => session.fork(),
            Model::Encoder(_) => Err(wrong_kind("an encoder", "fork a conversation")),
        })
        .await
    }

    async fn read_head(&self, source: JsValue) -> Result<()> {
        let head = Checkpoint::open(requests::model_files(&source)?).await?;
        self.with_encoder("take a head", async |encoder| encoder.load_head(&head).await).await
    }

    async fn classify_texts(&self, texts: JsValue, options: JsValue) -> Result<JsValue> {
        let texts: Vec<String> = from_js("texts", texts)?;
        let options = from_js::<ClassifyRequest>("options", options)?.options()?;
        self.with_encoder("classify", async |encoder| to_js(&encoder.classify(&borrowed(&texts), &options).await?))
            .await
    }

    async fn with_encoder<T>(&self, what: &str, work: impl AsyncFnOnce(&mut TextEncoder) -> Result<T>) -> Result<T> {
        self.with_model(async |model, _| match model {
            Model::Encoder(encoder) => work(encoder).await,
            Model::Decoder(_) => Err(wrong_kind("a decoder", what)),
        })
        .await
    }

    async fn embed_texts(&self, texts: JsValue, options: JsValue) -> Result<JsValue> {
        let texts: Vec<String> = from_js("texts", texts)?;
        let options = from_js::<EmbedRequest>("options", options)?.options()?;
        self.with_encoder("embed texts", async |encoder| {
            let embedded = encoder.embed_texts(&borrowed(&texts), &options).await?;
            to_js(&embedded.into_iter().map(|text| text.embedding).collect::<Vec<_>>())
        })
        .await
    }

    async fn tag_texts(&self, texts: JsValue, options: JsValue) -> Result<JsValue> {
        let texts: Vec<String> = from_js("texts", texts)?;
        let options = from_js::<TagRequest>("options", options)?.options()?;
        self.with_encoder("tag texts", async |encoder| to_js(&encoder.tag(&borrowed(&texts), &options).await?)).await
    }

    async fn answer_question(&self, question: &str, context: &str, options: JsValue) -> Result<JsValue> {
        let options = from_js::<AnswerRequest>("options", options)?.options();
        self.with_encoder("answer questions", async |encoder| {
            to_js(&encoder.answer(question, context, &options).await?)
        })
        .await
    }

    async fn rank_documents(&self, query: &str, documents: JsValue) -> Result<JsValue> {
        let documents: Vec<String> = from_js("documents", documents)?;
        self.with_encoder("rank texts", async |encoder| to_js(&encoder.rank(query, &borrowed(&documents)).await?)).await
    }

    async fn fill_texts(&self, texts: JsValue, options: JsValue) -> Result<JsValue> {
        let texts: Vec<String> = from_js("texts", texts)?;
        let options = from_js::<FillRequest>("options", options)?.options();
        self.with_encoder("fill texts", async |encoder| to_js(&encoder.fill(&borrowed(&texts), &options).await?)).await
    }

    async fn bench_model(&self, options: JsValue, on_run: &Function) -> Result<BenchReport> {
        let request: BenchRequest = from_js("options", options)?;
        let mut report = reporting(on_run);
        self.with_model(async |model, _| match model {
            Model::Decoder(session) => {
                let options = request.bench_options(session.info().context_len / 2);
                measure::bench_decoder(session, &options, &mut report).await
            }
            Model::Encoder(encoder) => {
                let options = request.bench_options(encoder.info().context_len);
                measure::bench_encoder(encoder, &options, &mut report).await
            }
        })
        .await
    }
}

/// Calls `on_step({done, total})`.
fn reporting(on_step: &Function) -> impl FnMut(usize, usize) {
    move |done, total| {
        if let Ok(event) = to_js(&RunEvent { done, total }) {
            call(on_step, &event);
        }
    }
}

/// A model's name through the hub, or files the user handed over.
async fn open_checkpoint(source: &JsValue, request: &LoadRequest) -> Result<Checkpoint> {
    let Some(name) = source.as_string() else {
        return Checkpoint::open(requests::model_files(source)?).await;
    };
    match ModelName::parse(&name)? {
        ModelName::Random(_) => Checkpoint::random(&name),
        parsed => Checkpoint::open(hub::open(&parsed, &request.hub_options(), &mut |_| ()).await?).await,
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn no_model() -> Error {
    Error::invalid("no model is loaded, or it is busy with another request")
}

fn wrong_kind(found: &str, wanted: &str) -> Error {
    Error::unsupported(format!("the loaded model is {found}: it cannot {wanted}"))
}
