//! Choosing among given texts by how likely a decoder finds each: multiple choice, and labels without a head. Nothing is written
//! freely, so an answer is always one of the choices.

use super::classify::ranked;
use super::scores::softmax;
use super::{Classified, ClassifyOptions, Explain, Reading};
use crate::error::{Error, Result};
use crate::session::{Cancel, Session};
use crate::text::{ChatOptions, Message, Tokenizer};
use serde::Serialize;

/// A text that a label is scored behind to find what the model prefers whatever the text (arXiv 2102.09690).
const CONTENT_FREE: &str = "N/A";

/// Where the label stands in what follows a text, when nothing else is asked for.
const LABEL_ALONE: &str = "{}";

/// What likelihoods of choices of different lengths are compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalization {
    /// The likelihood of the whole: a choice of more tokens is less likely for that alone.
    #[default]
    Whole,
    /// The likelihood per token.
    PerToken,
}

/// A choice and what the model thinks of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Its place among the choices, counted from 0.
    pub index: usize,
    /// ln p of all of it behind the prompt.
    pub log_likelihood: f32,
    /// Its tokens.
    pub n_tokens: usize,
    /// Its share among the choices, by the normalization asked for; in 0..=1.
    pub score: f32,
}

/// A prompt and what may follow, as ids.
struct Continuation {
    prompt: Vec<u32>,
    ids: Vec<u32>,
}

/// Ranks texts that may continue `prompt` as it stands, the likeliest first. A choice that is a word of its own begins with the space
/// before it.
///
/// # Errors
/// `Invalid` for an empty choice, `Limit` for one that does not fit the context behind the prompt.
pub async fn rank_continuations(
    session: &mut Session,
    prompt: &str,
    choices: &[&str],
    normalization: Normalization,
) -> Result<Vec<Choice>> {
    let continuations = choices.iter().map(|choice| behind_text(session.tokenizer(), prompt, choice));
    let continuations = continuations.collect::<Result<Vec<_>>>()?;
    Ok(rank(&log_likelihoods(session, &continuations).await?, normalization))
}

/// Ranks the answers that a chat model may give to `messages`, the likeliest first.
///
/// # Errors
/// As `rank_continuations`, and `Unsupported` for a model without a chat template.
pub async fn rank_answers(
    session: &mut Session,
    messages: &[Message],
    choices: &[&str],
    normalization: Normalization,
) -> Result<Vec<Choice>> {
    let prompt = session.chat_prompt(messages, &ChatOptions::default())?;
    let continuations = choices.iter().map(|choice| behind_ids(session.tokenizer(), &prompt, choice));
    let continuations = continuations.collect::<Result<Vec<_>>>()?;
    Ok(rank(&log_likelihoods(session, &continuations).await?, normalization))
}

/// A decoder that labels texts: by how much likelier a text makes each label than a text that says nothing does.
pub struct LikelihoodClassifier<'s> {
    session: &'s mut Session,
    labels: Vec<String>,
    /// What would follow a text, by label.
    followers: Vec<String>,
    /// ln p of those behind a text that says nothing.
    anyway: Vec<f32>,
    explain: Option<Explain>,
}

impl<'s> LikelihoodClassifier<'s> {
    /// Learns what the model prefers anyway. `options.template` is what follows a text, `{}` standing for the label.
    ///
    /// # Errors
    /// `Invalid` without labels, `Unsupported` for labels judged each alone: likelihoods only compare.
    pub async fn new(session: &'s mut Session, options: &ClassifyOptions) -> Result<Self> {
        let labels = options.labels.clone();
        if labels.is_empty() {
            return Err(Error::invalid(format!("classifying with {}: a decoder needs labels", session.info().name)));
        }
        if options.multi_label {
            return Err(Error::unsupported("judging each label alone by a decoder, whose likelihoods compare labels"));
        }
        let template = options.template.as_deref().unwrap_or(LABEL_ALONE);
        let followers: Vec<String> = labels.iter().map(|label| template.replace("{}", label)).collect();
        let (anyway, _) = label_likelihoods(session, CONTENT_FREE, &labels, &followers).await?;
        Ok(Self { session, labels, followers, anyway, explain: options.explain.clone() })
    }

    /// The labels of each text, as `classify` gives them; `cancel` stops between texts.
    pub async fn classify_all(&mut self, texts: &[&str], cancel: &Cancel) -> Result<Vec<Classified>> {
        let mut results = self.label(texts, cancel).await?;
        if let Some(explain) = self.explain.clone() {
            explain.add(texts, &mut results, async |texts| self.label(texts, cancel).await).await?;
        }
        Ok(results)
    }

    async fn label(&mut self, texts: &[&str], cancel: &Cancel) -> Result<Vec<Classified>> {
        let mut all = Vec::with_capacity(texts.len());
        for text in texts {
            cancel.check()?;
            all.push(self.classify(text).await?);
        }
        Ok(all)
    }

    /// The labels of a text, best first. A text that does not fit the context is cut.
    pub async fn classify(&mut self, text: &str) -> Result<Classified> {
        let (found, read) = label_likelihoods(self.session, text, &self.labels, &self.followers).await?;
        let gains: Vec<f32> = found.iter().zip(&self.anyway).map(|(found, anyway)| found - anyway).collect();
        let count = |text: &str| Ok::<_, Error>(self.session.tokenizer().encode_text(text)?.len());
        let (tokens, of) = (count(read)?, count(text)?);
        let reading = Reading { tokens, dropped_tokens: of.saturating_sub(tokens), ..Reading::default() };
        Ok(Classified { labels: ranked(&self.labels, &softmax(&gains)), reading, explanation: None })
    }
}

/// ln p of each of `followers` behind a question about as much of `text` as fits, and that much of it.
async fn label_likelihoods<'t>(
    session: &mut Session,
    text: &'t str,
    labels: &[String],
    followers: &[String],
) -> Result<(Vec<f32>, &'t str)> {
    let mut text = text;
    let continuations = loop {
        let question = question(text, labels);
        let all = followers.iter().map(|follower| continuation(session, &question, follower));
        let all = all.collect::<Result<Vec<_>>>()?;
        let needed = all.iter().map(|one| one.prompt.len() + one.ids.len()).max().unwrap_or(0);
        let excess = needed.saturating_sub(session.info().context_len);
        if excess == 0 || text.is_empty() {
            break all;
        }
        text = without_end(session.tokenizer(), text, excess)?;
    };
    let likelihoods = log_likelihoods(session, &continuations).await?;
    Ok((likelihoods.iter().map(|(sum, _)| *sum).collect(), text))
}

/// What a decoder is asked about a text.
fn question(text: &str, labels: &[String]) -> String {
    let labels = labels.join(", ");
    format!("Which of these labels fits the text best: {labels}? Answer with the label alone.\n\nText: {text}")
}

/// `follower` as the answer to `question`: in a chat, or where there is no template, as the rest of a form.
fn continuation(session: &Session, question: &str, follower: &str) -> Result<Continuation> {
    let message = Message { role: "user".to_owned(), content: question.to_owned() };
    match session.chat_prompt(&[message], &ChatOptions::default()) {
        Ok(prompt) => behind_ids(session.tokenizer(), &prompt, follower),
        Err(Error::Unsupported { .. }) => {
            behind_text(session.tokenizer(), &format!("{question}\nLabel:"), &format!(" {follower}"))
        }
        Err(error) => Err(error),
    }
}

fn behind_ids(tokenizer: &Tokenizer, prompt: &[u32], choice: &str) -> Result<Continuation> {
    let ids = tokenizer.encode_text(choice)?;
    if ids.is_empty() {
        return Err(Error::invalid("a choice is empty"));
    }
    Ok(Continuation { prompt: prompt.to_vec(), ids })
}

/// Prompt and choice are tokenized together, for a token may reach over where they meet: it then counts as the choice's.
fn behind_text(tokenizer: &Tokenizer, prompt: &str, choice: &str) -> Result<Continuation> {
    let encode = |text: &str| -> Result<Vec<u32>> {
        Ok(tokenizer.added_bos().into_iter().chain(tokenizer.encode_text(text)?).collect())
    };
    let (before, mut prompt) = (encode(prompt)?, encode(&format!("{prompt}{choice}"))?);
    let n_same = before.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
    if choice.is_empty() || n_same == prompt.len() {
        return Err(Error::invalid("a choice is empty"));
    }
    let ids = prompt.split_off(n_same);
    Ok(Continuation { prompt, ids })
}

/// ln p and the number of tokens of each.
async fn log_likelihoods(session: &mut Session, continuations: &[Continuation]) -> Result<Vec<(f32, usize)>> {
    let mut found = Vec::with_capacity(continuations.len());
    for Continuation { prompt, ids } in continuations {
        let sum = session.log_likelihood(prompt, ids).await?.iter().sum();
        found.push((sum, ids.len()));
    }
    Ok(found)
}

/// Likelihoods of choices in order, best first.
fn rank(likelihoods: &[(f32, usize)], normalization: Normalization) -> Vec<Choice> {
    let compared = |(sum, n_tokens): &(f32, usize)| match normalization {
        Normalization::Whole => *sum,
        Normalization::PerToken => sum / *n_tokens as f32,
    };
    let scores = softmax(&likelihoods.iter().map(compared).collect::<Vec<_>>());
    let all = likelihoods.iter().zip(scores).enumerate();
    let mut choices: Vec<Choice> = all
        .map(|(index, ((log_likelihood, n_tokens), score))| Choice {
            index,
            log_likelihood: *log_likelihood,
            n_tokens: *n_tokens,
            score,
        })
        .collect();
    choices.sort_by(|a, b| b.score.total_cmp(&a.score));
    choices
}

/// `text` without its last `n_tokens` tokens.
fn without_end<'a>(tokenizer: &Tokenizer, text: &'a str, n_tokens: usize) -> Result<&'a str> {
    let spans = tokenizer.encode_spans(text)?;
    let end = spans.len().checked_sub(n_tokens).map_or(0, |first| spans[first].bytes.start);
    Ok(&text[..text.floor_char_boundary(end)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn long_choices_lose_as_a_whole_and_win_per_token() {
        let likelihoods = [(-3.0, 1), (-4.0, 2)];
        let order =
            |normalization| rank(&likelihoods, normalization).iter().map(|choice| choice.index).collect::<Vec<_>>();
        assert_eq!((order(Normalization::Whole), order(Normalization::PerToken)), (vec![0, 1], vec![1, 0]));
        let sum: f32 = rank(&likelihoods, Normalization::Whole).iter().map(|choice| choice.score).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
