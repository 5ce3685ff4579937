//! Words for the hidden places of a text, as transformers' fill-mask pipeline gives them.

use super::encoder::{Input, TextEncoder};
use super::scores::softmax;
use crate::error::{Error, Result};
use crate::model::config::HeadOf;
use crate::model::encoder::Output;
use serde::Serialize;

/// How hidden places are filled.
#[derive(Clone, Copy, Debug)]
pub struct FillOptions {
    /// Tokens for each place.
    pub top: usize,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self { top: 5 }
    }
}

/// A token for a hidden place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filling {
    /// How probable it is.
    pub score: f32,
    /// Its id.
    pub token: u32,
    /// As it reads by itself.
    pub token_str: String,
    /// The text with it; where other places are hidden still, with its special tokens.
    pub sequence: String,
}

/// The hidden places of a text in their order, each with its tokens, best first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filled {
    /// One list per place.
    pub masks: Vec<Vec<Filling>>,
}

impl TextEncoder {
    /// Tokens for every hidden place of each text.
    ///
    /// # Errors
    /// `Unsupported` when the model has no head of hidden tokens; `Invalid` for a text in which nothing is hidden.
    pub async fn fill(&mut self, texts: &[&str], options: &FillOptions) -> Result<Vec<Filled>> {
        let (Some(HeadOf::Mask), Some(mask)) = (self.head(), self.tokenizer().mask()) else {
            let what = format!("hidden words from {}: it has no head of hidden tokens", self.info().name);
            return Err(Error::unsupported(what));
        };
        let inputs = texts.iter().map(|text| self.masked(text, mask)).collect::<Result<Vec<Input>>>()?;
        let rows = self.run(&inputs, Output::TokenLogits).await?;
        let filled = inputs.iter().zip(rows).map(|(input, rows)| {
            let places = input.asked.iter().flatten();
            let fillings = places.zip(&rows).map(|(place, row)| self.fillings(input, *place, row, options.top));
            Filled { masks: fillings.collect() }
        });
        Ok(filled.collect())
    }

    /// A text whose hidden places are asked about.
    fn masked(&self, text: &str, mask: u32) -> Result<Input> {
        let mut input: Input = self.tokenizer().frame(&self.tokenizer().encode_marked(text)?, None).into();
        let places: Vec<usize> = (0..input.ids.len()).filter(|i| input.ids[*i] == mask).collect();
        if places.is_empty() {
            let name = self.tokenizer().token(mask).unwrap_or_default();
            return Err(Error::invalid(format!("nothing is hidden in {text:?}: write {name} where a word is wanted")));
        }
        input.asked = Some(places);
        Ok(input)
    }

    fn fillings(&self, input: &Input, place: usize, logits: &[f32], top: usize) -> Vec<Filling> {
        let scores = softmax(logits);
        let mut best: Vec<usize> = (0..scores.len()).collect();
        let falling = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        let top = top.min(best.len());
        if top < best.len() {
            best.select_nth_unstable_by(top, falling);
            best.truncate(top);
        }
        best.sort_by(falling);
        let shows_specials = input.asked.as_ref().is_some_and(|asked| asked.len() > 1);
        let filling = |id: usize| {
            let mut ids = input.ids.clone();
            ids[place] = id as u32;
            let is_shown = |id: &u32| shows_specials || !self.tokenizer().is_special(*id);
            let sequence = self.spelled(ids.into_iter().filter(is_shown));
            let token_str = self.spelled(std::iter::once(id as u32));
            Filling { score: scores[id], token: id as u32, token_str, sequence }
        };
        best.into_iter().map(filling).collect()
    }

    fn spelled(&self, ids: impl Iterator<Item = u32>) -> String {
        self.tokenizer().join(ids.filter_map(|id| self.tokenizer().token(id)).collect())
    }
}
