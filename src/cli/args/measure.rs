//! The arguments of commands that measure: perplexity, devices, bench and profile.

use super::{LoadArgs, SpeculateArgs};
use clap::Args;
use std::path::PathBuf;

const PERPLEXITY_EXAMPLES: &str = "\
Example:
  trice perplexity model.gguf --file stories.txt --separator '<|endoftext|>' --max-docs 60 --ctx 512

Each document is stripped, begins with the model's begin token, and is cut at --ctx tokens,
or with --stride read in windows of that many.";

#[derive(Args)]
#[command(after_help = PERPLEXITY_EXAMPLES)]
pub(crate) struct PerplexityArgs {
    /// Path, hf:owner/repo[:quant], URL, builtin:NAME or random:SHAPE[:QUANT]
    pub(crate) model: String,
    /// The text
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// What stands between documents; left out, the file is one document
    #[arg(long, value_name = "TEXT")]
    pub(crate) separator: Option<String>,
    /// Only the first N documents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_docs: Option<u32>,
    /// Read all of a document longer than the context, in windows of it that begin N tokens apart; each counts the tokens that none
    /// before it did. Left out, the rest of such a document is not read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) stride: Option<u32>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Args)]
pub(crate) struct DevicesArgs {
    /// Only list them
    #[arg(long)]
    pub(crate) no_measure: bool,
    /// Also multiply weights of every type on each and compare with the CPU
    #[arg(long)]
    pub(crate) check: bool,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  trice bench model.gguf
  trice bench random:135m:Q4_0 -p 512 -n 128 -r 5 --json      weights made in memory, no download
  trice bench large.gguf --draft small.gguf -p 0              what a model that guesses ahead is worth
  trice bench model-q8.gguf model-q4.gguf --file text.txt     side by side: size, speed, perplexity";

#[derive(Args)]
#[command(after_help = BENCH_EXAMPLES)]
pub(crate) struct BenchArgs {
    /// The model; left out, builtin:stories. Several are compared
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<String>,
    /// Also measure the perplexity of decoders on this text
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What stands between its documents; left out, the file is one document
    #[arg(long, value_name = "TEXT", requires = "file")]
    pub(crate) separator: Option<String>,
    /// Tokens of prompt to time; 0 leaves that test out; default: the smaller of 512 and half the context
    #[arg(short = 'p', long, value_name = "TOKENS")]
    pub(crate) prompt_tokens: Option<u32>,
    /// Tokens to generate and time; 0 leaves that test out
    #[arg(short = 'n', long, value_name = "TOKENS", default_value_t = 128)]
    pub(crate) tokens: u32,
    /// Texts at once; of a decoder, answers written at once, up to 8
    #[arg(short = 'b', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Repetitions of each test
    #[arg(short = 'r', long, value_name = "TIMES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) speculate: SpeculateArgs,
}

const PROFILE_EXAMPLES: &str = "\
Examples:
  trice profile model.gguf
  trice profile random:135m:Q4_0 -p 0 -n 1024                 a decode step at a context of 1024, nothing else

Times are the device's own where its clock can be believed, else the host's around many runs of each kernel.
A kernel's roof is the read bandwidth or the rate of 32-bit floats, whichever its work would take longer at.";

#[derive(Args)]
#[command(after_help = PROFILE_EXAMPLES)]
pub(crate) struct ProfileArgs {
    /// Path, hf:owner/repo[:quant], URL, builtin:NAME or random:SHAPE[:QUANT]
    pub(crate) model: String,
    /// Tokens of prompt to profile (for an encoder, per text); 0 leaves the prompt out; default: the smaller of 128 and half the context
    #[arg(short = 'p', long, value_name = "TOKENS")]
    pub(crate) prompt_tokens: Option<u32>,
    /// Tokens of context at which to profile a decode step; 0 leaves it out; default as for -p
    #[arg(short = 'n', long, value_name = "TOKENS")]
    pub(crate) context_tokens: Option<u32>,
    /// Texts at once, for an encoder
    #[arg(short = 'b', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}
