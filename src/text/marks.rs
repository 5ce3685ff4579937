//! Which tokens begin and end a text: read from the template in `tokenizer.json` and from the files beside it.

use super::precheck::{Role, Vocabulary, list};
use super::tokenizer::SideFiles;
use crate::error::{Error, Result};
use serde_json::Value;

/// Special tokens that end an answer, whatever a model's files say.
const END_TOKENS: [&str; 10] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "</s>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    "<|EOT|>",
];

/// The tokens around texts and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The begin token, whether texts get it or not.
    pub(super) bos: Option<u32>,
    /// The end token that templates call `eos_token`.
    pub(super) eos: Option<u32>,
    /// What stands before a document.
    pub(super) prefix: Vec<u32>,
    /// What stands after it.
    pub(super) suffix: Vec<u32>,
    /// What stands between the two texts of a pair; none where the file does not say.
    pub(super) between: Option<Vec<u32>>,
    /// Whether the second text of a pair is of another type than the first.
    pub(super) second_is_typed: bool,
    /// The token that stands for a hidden one.
    pub(super) mask: Option<u32>,
    /// What ends an answer, ascending.
    pub(super) ends: Vec<u32>,
}

/// Finds tokens by text and checks ids.
struct Finder<'a> {
    name: &'a str,
    tokens: &'a Vocabulary,
}

impl Finder<'_> {
    fn id(&self, text: &str) -> Option<u32> {
        id_of(self.tokens, text)
    }

    fn checked(&self, what: &str, id: u64) -> Result<u32> {
        let len = self.tokens.len();
        match u32::try_from(id) {
            Ok(id) if (id as usize) < len => Ok(id),
            _ => Err(Error::format(self.name, format!("{what} is token {id}, the vocabulary has {len}"))),
        }
    }
}

/// The id of a token as the file spells it.
pub(super) fn id_of(tokens: &Vocabulary, text: &str) -> Option<u32> {
    let found = tokens.iter().position(|token| token.as_ref().is_some_and(|token| token.text == text))?;
    u32::try_from(found).ok()
}

/// Checks an id of the file against its vocabulary.
pub(super) fn checked_id(name: &str, tokens: &Vocabulary, what: &str, id: u64) -> Result<u32> {
    Finder { name, tokens }.checked(what, id)
}

impl Marks {
    /// Reads them from a `tokenizer.json` and its neighbours.
    pub(super) fn read(name: &str, file: &Value, tokens: &Vocabulary, side: &SideFiles<'_>) -> Result<Self> {
        let finder = Finder { name, tokens };
        let mut marks = Self::default();
        marks.read_post_processor(&finder, file.get("post_processor"))?;
        marks.read_names(&finder, side)?;
        marks.read_ids(&finder, side)?;
        marks.mask = marks.mask.or_else(|| finder.id("[MASK]")).or_else(|| finder.id("<mask>"));
        if marks.bos.is_none() && marks.suffix.is_empty() {
            marks.bos = marks.prefix.first().copied();
        }
        marks.apply_add_flags(side);
        marks.add_known_ends(tokens);
        Ok(marks)
    }

    fn read_post_processor(&mut self, finder: &Finder<'_>, processor: Option<&Value>) -> Result<()> {
        let Some(processor) = processor.filter(|value| !value.is_null()) else { return Ok(()) };
        match processor.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                let parts = list(processor.get("processors"));
                parts.iter().try_for_each(|part| self.read_post_processor(finder, Some(part)))
            }
            Some("BertProcessing" | "RobertaProcessing") => {
                let id = |key| processor.get(key).and_then(|pair| pair.get(1)).and_then(Value::as_u64);
                let (Some(cls), Some(sep)) = (id("cls"), id("sep")) else {
                    return Err(Error::format(finder.name, "its post-processor needs cls and sep with ids"));
                };
                let is_roberta = processor.get("type").and_then(Value::as_str) == Some("RobertaProcessing");
                self.prefix = vec![finder.checked("cls", cls)?];
                self.suffix = vec![finder.checked("sep", sep)?];
                self.between = Some(self.suffix.repeat(if is_roberta { 2 } else { 1 }));
                self.second_is_typed = !is_roberta;
                Ok(())
            }
            Some("TemplateProcessing") => self.read_template(finder, processor),
            _ => Ok(()),
        }
    }

    /// `single` lists special tokens around the one `Sequence`, `pair` those around and between two.
    fn read_template(&mut self, finder: &Finder<'_>, processor: &Value) -> Result<()> {
        let single = template_parts(finder, processor, "single")?;
        let mut parts = single.split(|(part, _)| matches!(part, Part::Text)).map(specials);
        self.prefix.extend(parts.next().unwrap_or_default());
        self.suffix.extend(parts.flatten());
        let pair = template_parts(finder, processor, "pair")?;
        let texts: Vec<usize> = (0..pair.len()).filter(|i| matches!(pair[*i].0, Part::Text)).collect();
        if let [first, second] = texts[..] {
            self.between = Some(specials(&pair[first + 1..second]));
            self.second_is_typed = pair[second].1 == 1;
        }
        Ok(())
    }

    /// `bos_token`, `eos_token` and `mask_token` as texts.
    fn read_names(&mut self, finder: &Finder<'_>, side: &SideFiles<'_>) -> Result<()> {
        for file in [side.special_tokens_map, side.tokenizer_config].into_iter().flatten() {
            if let Some(text) = token_text(file.get("mask_token")) {
                self.mask = finder.id(text);
            }
            if let Some(text) = token_text(file.get("bos_token")) {
                self.bos = finder.id(text);
            }
            if let Some(id) = token_text(file.get("eos_token")).and_then(|text| finder.id(text)) {
                self.eos = Some(id);
                self.ends.push(id);
            }
        }
        Ok(())
    }

    /// `bos_token_id` and `eos_token_id`, the latter one id or several.
    fn read_ids(&mut self, finder: &Finder<'_>, side: &SideFiles<'_>) -> Result<()> {
        for file in [side.generation_config, side.config].into_iter().flatten() {
            let ids = match file.get("eos_token_id") {
                Some(Value::Array(ids)) => ids.as_slice(),
                Some(id) => std::slice::from_ref(id),
                None => &[],
            };
            // Configurations carry ids such as -1 or null for "none".
            for id in ids.iter().filter_map(Value::as_u64) {
                let id = finder.checked("eos_token_id", id)?;
                self.eos = self.eos.or(Some(id));
                self.ends.push(id);
            }
            if let (None, Some(id)) = (self.bos, file.get("bos_token_id").and_then(Value::as_u64)) {
                self.bos = Some(finder.checked("bos_token_id", id)?);
            }
        }
        Ok(())
    }

    /// `add_bos_token` and `add_eos_token` overrule the template, as they do upstream.
    fn apply_add_flags(&mut self, side: &SideFiles<'_>) {
        let flag = |key| side.tokenizer_config.and_then(|file| file.get(key)).and_then(Value::as_bool);
        if let (Some(bos), Some(add)) = (self.bos, flag("add_bos_token")) {
            set_mark(&mut self.prefix, bos, add);
        }
        if let (Some(eos), Some(add)) = (self.eos, flag("add_eos_token")) {
            set_mark(&mut self.suffix, eos, add);
        }
    }

    /// Completes the end tokens with the well-known names and sorts them.
    pub(super) fn add_known_ends(&mut self, tokens: &Vocabulary) {
        for (id, token) in (0_u32..).zip(tokens) {
            let known = |text: &str| END_TOKENS.contains(&text);
            if token.as_ref().is_some_and(|token| token.role == Role::Special && known(&token.text)) {
                self.ends.push(id);
            }
        }
        self.ends.sort_unstable();
        self.ends.dedup();
    }
}

/// A part of a template.
enum Part {
    Text,
    Specials(Vec<u32>),
}

/// The parts of a template by its name, each with its type; `special_tokens` gives the ids of special ones.
fn template_parts(finder: &Finder<'_>, processor: &Value, name: &str) -> Result<Vec<(Part, u64)>> {
    let part = |part: &Value| {
        let (kind, inner) = match (part.get("SpecialToken"), part.get("Sequence")) {
            (Some(special), _) => (Part::Specials(special_ids(finder, processor, special)?), Some(special)),
            (None, sequence) => (Part::Text, sequence),
        };
        Ok((kind, inner.and_then(|inner| inner.get("type_id")).and_then(Value::as_u64).unwrap_or(0)))
    };
    list(processor.get(name)).iter().map(part).collect()
}

fn special_ids(finder: &Finder<'_>, processor: &Value, special: &Value) -> Result<Vec<u32>> {
    let key = special.get("id").and_then(Value::as_str).unwrap_or("");
    let entry = processor.get("special_tokens").and_then(|all| all.get(key));
    let ids = list(entry.and_then(|entry| entry.get("ids")));
    if ids.is_empty() {
        return Err(Error::format(finder.name, format!("its template names {key:?} without giving its id")));
    }
    ids.iter().map(|id| finder.checked(key, id.as_u64().unwrap_or(u64::MAX))).collect()
}

/// The special tokens among these parts.
fn specials(parts: &[(Part, u64)]) -> Vec<u32> {
    let ids = parts.iter().filter_map(|(part, _)| match part {
        Part::Specials(ids) => Some(ids),
        Part::Text => None,
    });
    ids.flatten().copied().collect()
}

fn set_mark(marks: &mut Vec<u32>, id: u32, present: bool) {
    match (marks.contains(&id), present) {
        (false, true) => marks.push(id),
        (true, false) => marks.retain(|mark| *mark != id),
        (true, true) | (false, false) => {}
    }
}

/// A token given as a text or as `{"content": text}`.
fn token_text(value: Option<&Value>) -> Option<&str> {
    let value = value?;
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str))
}
