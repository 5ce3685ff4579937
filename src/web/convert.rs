//! Values across the boundary: JS objects to requests, results to JS objects, errors to JS errors. Knows no request.

use crate::error::{Error, Result};
use js_sys::Function;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;

/// Reads a request; `undefined` and `null` are the empty object. By way of JSON, which shows fields that nobody asked for.
pub(super) fn from_js<T: DeserializeOwned>(what: &str, value: JsValue) -> Result<T> {
    let value = if value.is_undefined() || value.is_null() { js_sys::Object::new().into() } else { value };
    let json = js_sys::JSON::stringify(&value).ok().and_then(|json| json.as_string());
    let json = json.ok_or_else(|| Error::invalid(format!("{what}: an object that JSON can hold is wanted")))?;
    serde_json::from_str(&json).map_err(|error| Error::invalid(format!("{what}: {error}")))
}

/// Writes a result as plain objects, arrays and numbers.
pub(super) fn to_js<T: Serialize + ?Sized>(value: &T) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(|error| Error::invalid(format!("result: {error}")))
}

/// Tells a listener. What it throws is its own affair: the engine's work goes on.
pub(super) fn call(listener: &Function, event: &JsValue) {
    drop(listener.call1(&JsValue::NULL, event));
}

/// A JS `Error` whose `name` is the variant.
pub(super) fn to_js_error(error: Error) -> JsValue {
    let name = match &error {
        Error::Io { .. } => "Io",
        Error::Format { .. } => "Format",
        Error::Unsupported { .. } => "Unsupported",
        Error::Limit { .. } => "Limit",
        Error::Gpu { .. } => "Gpu",
        Error::Invalid { .. } => "Invalid",
        Error::Cancelled => "Cancelled",
    };
    let js = js_sys::Error::new(&error.to_string());
    js.set_name(name);
    js.into()
}
