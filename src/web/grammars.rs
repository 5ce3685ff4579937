//! Grammars by the second WebAssembly module, which is fetched once an answer has one. What fails inside it (a grammar may be too
//! much for its stack) ends that answer alone: the next one gets a new instance.

use crate::error::{Error, Result};
use crate::session::Session;
use crate::text::Grammar;
use crate::text::grammar::{Grammars, Library, Matcher, Vocabulary};
use js_sys::{Function, Promise};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    type JsModule;
    #[wasm_bindgen(method, catch)]
    fn library(this: &JsModule, bytes: &[u8], lengths: &[u32], ends: &[u32]) -> Result<JsLibrary, JsValue>;

    type JsLibrary;
    #[wasm_bindgen(method, catch, js_name = jsonSchema)]
    fn json_schema(this: &JsLibrary, schema: &str) -> Result<JsMatcher, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn regex(this: &JsLibrary, pattern: &str) -> Result<JsMatcher, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn lark(this: &JsLibrary, text: &str) -> Result<JsMatcher, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn free(this: &JsLibrary) -> Result<(), JsValue>;

    type JsMatcher;
    #[wasm_bindgen(method, catch)]
    fn mask(this: &JsMatcher) -> Result<Vec<u32>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn take(this: &JsMatcher, id: u32) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = isComplete)]
    fn is_complete(this: &JsMatcher) -> Result<bool, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn free(this: &JsMatcher) -> Result<(), JsValue>;
}

/// The module: how to get an instance, and the one there is.
pub(super) struct GrammarModule {
    instantiate: Function,
    instance: RefCell<Option<Rc<Instance>>>,
}

struct Instance {
    module: JsModule,
    /// Whether it failed, which leaves its memory in an unknown state.
    is_broken: Cell<bool>,
}

struct WebLibrary {
    instance: Rc<Instance>,
    library: JsLibrary,
}

struct WebMatcher {
    instance: Rc<Instance>,
    matcher: JsMatcher,
}

impl GrammarModule {
    /// `instantiate()` resolves to a new instance.
    pub(super) fn new(instantiate: Function) -> Self {
        Self { instantiate, instance: RefCell::default() }
    }

    /// Lets the module follow the grammars of a session's answers.
    ///
    /// # Errors
    /// `Io` where it cannot be fetched, `Format` for a vocabulary that it refuses.
    pub(super) async fn serve(&self, session: &mut Session) -> Result<()> {
        let sound = self.instance.borrow().clone().filter(|instance| !instance.is_broken.get());
        let instance = match sound {
            Some(_) if session.has_grammars() => return Ok(()),
            Some(instance) => instance,
            None => self.new_instance().await?,
        };
        session.set_grammars(Grammars::by(WebLibrary::new(instance, &session.vocabulary()))?);
        Ok(())
    }

    async fn new_instance(&self) -> Result<Rc<Instance>> {
        let failed = |thrown: JsValue| Error::io("loading the module of grammars", io::Error::other(message(&thrown)));
        let promise: Promise = self.instantiate.call0(&JsValue::NULL).map_err(failed)?.unchecked_into();
        let module: JsModule = JsFuture::from(promise).await.map_err(failed)?.unchecked_into();
        let instance = Rc::new(Instance { module, is_broken: Cell::new(false) });
        self.instance.replace(Some(instance.clone()));
        Ok(instance)
    }
}

impl Instance {
    /// What the library said; where an error was thrown instead, it has failed.
    fn reason(&self, thrown: &JsValue) -> String {
        thrown.as_string().unwrap_or_else(|| {
            self.is_broken.set(true);
            message(thrown)
        })
    }
}

impl WebLibrary {
    fn new(instance: Rc<Instance>, vocabulary: &Vocabulary) -> Result<Self, String> {
        let lengths: Vec<u32> = vocabulary.words.iter().map(|word| word.len() as u32).collect();
        let library = instance.module.library(&vocabulary.words.concat(), &lengths, &vocabulary.ends);
        let library = library.map_err(|thrown| instance.reason(&thrown))?;
        Ok(Self { instance, library })
    }
}

impl Library for WebLibrary {
    fn begin(&self, grammar: &Grammar) -> Result<Box<dyn Matcher>, String> {
        let matcher = match grammar {
            Grammar::JsonSchema(schema) => self.library.json_schema(&schema.to_string()),
            Grammar::Regex(pattern) => self.library.regex(pattern),
            Grammar::Lark(text) => self.library.lark(text),
        };
        let matcher = matcher.map_err(|thrown| self.instance.reason(&thrown))?;
        Ok(Box::new(WebMatcher { instance: self.instance.clone(), matcher }))
    }
}

impl Matcher for WebMatcher {
    fn mask(&mut self) -> Result<Vec<u32>, String> {
        self.matcher.mask().map_err(|thrown| self.instance.reason(&thrown))
    }

    fn take(&mut self, id: u32) -> Result<(), String> {
        self.matcher.take(id).map_err(|thrown| self.instance.reason(&thrown))
    }

    fn is_complete(&self) -> bool {
        self.matcher.is_complete().unwrap_or(false)
    }
}

// The memory is the other module's. What a broken instance says to that does not matter.

impl Drop for WebLibrary {
    fn drop(&mut self) {
        self.library.free().ok();
    }
}

impl Drop for WebMatcher {
    fn drop(&mut self) {
        self.matcher.free().ok();
    }
}

/// What an error thrown in JavaScript says.
fn message(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{thrown:?}"),
    }
}
