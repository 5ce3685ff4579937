//! Which layers see a window, and how wide it is, as files say it.

use super::architecture::Windows;
use super::facts::{Fact, Facts};
use crate::error::{Error, Result};
use crate::format::Value;
use crate::kernels::attention::NO_WINDOW;
use serde_json::Value as Json;

/// The window of a Gemma 2 whose file does not say it.
const GEMMA2_WINDOW: u64 = 4096;

/// Qwen's first layer with a window, where a `config.json` does not say it.
const MAX_WINDOW_LAYERS: u64 = 28;

/// What each layer sees: how many positions, or `NO_WINDOW`.
pub(super) fn windows(facts: &Facts<'_>, rule: Windows, n: u32) -> Result<Vec<u32>> {
    // Read whatever the window: what it lists may be layers of other kinds.
    let has_window = windowed_layers(facts, rule, n)?;
    let said = facts.find_uint("attention.sliding_window", "sliding_window")?;
    let window = said.or((facts.architecture.name == "gemma2").then_some(GEMMA2_WINDOW)).filter(|window| *window > 0);
    // Qwen's configs have a window that most models do not use.
    let by_default = facts.is_gguf() || rule != Windows::Upper;
    let is_used = facts.find_bool("", "use_sliding_window")?.unwrap_or(by_default);
    let Some(window) = window.filter(|_| is_used) else { return Ok(vec![NO_WINDOW; n as usize]) };
    let window = u32::try_from(window).unwrap_or(NO_WINDOW);
    Ok(has_window.into_iter().map(|has_window| if has_window { window } else { NO_WINDOW }).collect())
}

/// Which layers see the window only: as the file lists them, or by a rule.
fn windowed_layers(facts: &Facts<'_>, rule: Windows, n: u32) -> Result<Vec<bool>> {
    let of_length = |list: Vec<bool>, key: &str| {
        let found = list.len();
        let wrong = || facts.wrong(format!("{key} lists {found} layers, {n} were wanted"));
        if found == n as usize { Ok(list) } else { Err(wrong()) }
    };
    if let Some(list) = facts.json("layer_types") {
        let kinds: Option<Vec<&str>> = list.as_array().and_then(|list| list.iter().map(Json::as_str).collect());
        let kinds = kinds.ok_or_else(|| facts.wrong("layer_types is no list of texts".into()))?;
        if let Some(other) = kinds.iter().find(|kind| !matches!(**kind, "sliding_attention" | "full_attention")) {
            return Err(Error::unsupported(format!(
                "layers of type {other} in {}: full_attention and sliding_attention run",
                facts.file
            )));
        }
        return of_length(kinds.iter().map(|kind| *kind == "sliding_attention").collect(), "layer_types");
    }
    let (gguf, json) = ("attention.sliding_window_pattern", "sliding_window_pattern");
    if let Some(Fact::Gguf(Value::Bools(list))) = facts.find(gguf, json) {
        return of_length(list.clone(), gguf);
    }
    let every = facts.find_uint(gguf, json)?.map(|every| every.try_into().unwrap_or(u32::MAX));
    let rule = match (every, rule) {
        (Some(every), Windows::AllButFirstOf(_)) => Windows::AllButFirstOf(every),
        (Some(every), _) => Windows::AllBut(every),
        (None, rule) => rule,
    };
    let first =
        facts.find_uint("", "max_window_layers")?.unwrap_or(if facts.is_gguf() { 0 } else { MAX_WINDOW_LAYERS });
    Ok((0..n)
        .map(|i| match rule {
            Windows::All => true,
            Windows::AllBut(every) => !(i + 1).is_multiple_of(every.max(1)),
            Windows::AllButFirstOf(every) => !i.is_multiple_of(every.max(1)),
            Windows::Upper => u64::from(i) >= first,
        })
        .collect())
}
