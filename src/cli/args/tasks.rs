//! The arguments of what chat models do with texts: summarize, translate and relations.

use super::LoadArgs;
use clap::Args;
use std::path::PathBuf;

pub(super) const DOCUMENTS_HELP: &str = "\
Texts come from the arguments, or one from --file or from stdin, as a whole. One longer than the context is worked on in pieces.
The first argument is the MODEL when it reads like one: a prefix such as hf:, a path with a slash, or a model file.";

pub(super) const SUMMARIZE_EXAMPLES: &str = "\
Examples:
  trice summarize chat-model.gguf --file report.txt
  curl -s https://example.org/article.txt | trice summarize chat-model.gguf -n 100";

pub(super) const RELATIONS_EXAMPLES: &str = "\
Examples:
  trice relations chat-model.gguf \"Marie Curie was born in Warsaw\"
  trice relations chat-model.gguf --file article.txt --json        {index, relations: [{head, relation, tail}]}";

/// A chat model and the texts that it is to do something with.
#[derive(Args)]
pub(crate) struct TaskArgs {
    /// A chat model (left out: the built-in one, which only knows stories), then texts
    #[arg(value_name = "MODEL|TEXT")]
    pub(crate) words: Vec<String>,
    /// Read one text from this file; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// At most this many tokens per answer; left out, a share of the context
    #[arg(short = 'n', long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

const TRANSLATE_EXAMPLES: &str = "\
Examples:
  trice translate chat-model.gguf --to French \"Good morning\"
  trice translate chat-model.gguf --to German --file letter.txt";

#[derive(Args)]
#[command(before_help = DOCUMENTS_HELP, after_help = TRANSLATE_EXAMPLES)]
pub(crate) struct TranslateArgs {
    /// The language to translate to, as people call it
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
}
