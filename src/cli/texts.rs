//! The texts that commands work on, and the model named before them.

use super::Usage;
use super::args::TextArgs;
use super::context::Context;
use super::rows::Rows;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use trice::rows::Column;

/// How many texts go to the GPU at once: enough to fill it, few enough for a lively progress bar.
pub(crate) const TEXTS_PER_BATCH: usize = 64;

/// What the positional words and the flags of tables mean together.
pub(crate) struct Request {
    pub(crate) model: Option<String>,
    pub(crate) texts: Texts,
}

/// A few texts, or many.
pub(crate) enum Texts {
    Given(Vec<String>),
    Rows(Box<Rows>),
}

impl Request {
    /// The model that was named.
    pub(crate) fn named_model(&self, wanted: &str) -> anyhow::Result<&str> {
        let missing =
            || Usage(format!("no model: name {wanted} before the texts, such as a folder, a .gguf or hf:owner/repo"));
        Ok(self.model.as_deref().ok_or_else(missing)?)
    }
}

impl TextArgs {
    /// Tells the model from the texts, and opens the table of texts where there are no others; `columns` will be added to it.
    pub(crate) fn read(self, context: &Context, columns: Vec<Column>) -> anyhow::Result<Request> {
        let (model, words) = split_model(self.words);
        let usage = |what: &str| anyhow::Error::from(Usage(what.to_owned()));
        let texts = match (&self.rows.file, words.is_empty()) {
            (Some(_), false) => return Err(usage("texts and --file exclude each other")),
            (None, false) if self.rows.output.is_some() => {
                return Err(usage("-o is for the rows of --file or stdin, not for texts as arguments"));
            }
            (None, false) => Texts::Given(words),
            (None, true) if io::stdin().is_terminal() => {
                return Err(usage("no text: give one as an argument, with --file, or on stdin"));
            }
            (_, true) => Texts::Rows(Box::new(Rows::open(context, self.rows, columns)?)),
        };
        Ok(Request { model, texts })
    }
}

/// The model, told from the texts, of which a file or stdin is one as a whole.
pub(crate) fn read_documents(
    words: Vec<String>,
    file: Option<PathBuf>,
) -> anyhow::Result<(Option<String>, Vec<String>)> {
    read_all(words, file, |text| vec![text])
}

/// The model, told from the texts, of which a file or stdin has one per line; empty lines are none.
pub(crate) fn read_lines(words: Vec<String>, file: Option<PathBuf>) -> anyhow::Result<(Option<String>, Vec<String>)> {
    read_all(words, file, |text| text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn read_all(
    words: Vec<String>,
    file: Option<PathBuf>,
    split: impl Fn(String) -> Vec<String>,
) -> anyhow::Result<(Option<String>, Vec<String>)> {
    let (model, words) = split_model(words);
    let texts = match (file, words.is_empty()) {
        (Some(_), false) => return Err(Usage("texts and --file exclude each other".to_string()).into()),
        (Some(file), true) if file.as_os_str() != "-" => split(read_file(&file)?),
        (None, false) => words,
        (None, true) if io::stdin().is_terminal() => {
            return Err(Usage("no text: give one as an argument, with --file, or on stdin".to_string()).into());
        }
        (Some(_) | None, true) => split(read_stdin()?),
    };
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(Usage("there is no text, or an empty one".to_string()).into());
    }
    Ok((model, texts))
}

/// A text file as a whole; the error names it.
pub(crate) fn read_file(path: &Path) -> trice::Result<String> {
    fs::read_to_string(path).map_err(|error| trice::Error::io(path.display().to_string(), error))
}

pub(crate) fn read_stdin() -> trice::Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| trice::Error::io("reading texts from stdin", error))?;
    Ok(text)
}

/// The first word is the model when it reads like one.
pub(super) fn split_model(mut words: Vec<String>) -> (Option<String>, Vec<String>) {
    if words.first().is_some_and(|word| looks_like_model(word)) {
        let model = words.remove(0);
        return (Some(model), words);
    }
    (None, words)
}

/// A prefix such as `hf:`, a path, or the name of a model file or folder that is there.
fn looks_like_model(word: &str) -> bool {
    const PREFIXES: [&str; 5] = ["builtin:", "hf:", "random:", "http://", "https://"];
    if word.chars().any(char::is_whitespace) {
        return word.ends_with(".gguf") || Path::new(word).is_dir();
    }
    PREFIXES.iter().any(|prefix| word.starts_with(prefix))
        || word.ends_with(".gguf")
        || word.ends_with(".safetensors")
        || word.contains(['/', '\\'])
        || Path::new(word).join("config.json").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str]) -> (Option<String>, Vec<String>) {
        split_model(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_first_word_is_the_model_when_it_reads_like_one() {
        for model in ["builtin:sentiment", "hf:a/b:Q4_0", "../models/x", "x.gguf", "my model.gguf", "random:minilm"] {
            assert_eq!(split(&[model, "good"]), (Some(model.to_string()), vec!["good".to_string()]), "{model}");
        }
    }

    #[test]
    fn a_text_is_no_model() {
        for text in ["good", "A film, good/bad, who knows", "what: a film", ""] {
            assert_eq!(split(&[text]), (None, vec![text.to_string()]), "{text}");
        }
    }
}
