//! The arguments of `trice chat`, and how tokens are chosen.

use super::{LoadArgs, SpeculateArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const CHAT_EXAMPLES: &str = "\
Examples:
  trice chat                                    the built-in story model, interactively (/help lists commands)
  trice chat model.gguf --system \"Be brief.\"
  trice chat model.gguf -p \"Name three rivers\" --temp 0 -n 64
  echo \"Once upon a time\" | trice chat --raw    continues the text, no chat template
  trice chat model.gguf -p Hello --json --logprobs 5
  trice chat model.gguf -p \"$(cat letter.txt) Correct the spelling.\" --speculate lookup   an answer that repeats its text
  trice chat large.gguf --draft small.gguf      a small model of the same family guesses ahead
  trice chat model.gguf -p \"Name three rivers\" --schema rivers.json    JSON that this schema holds for, and nothing else

Ctrl-C stops the answer; a second Ctrl-C leaves.";

#[derive(Args)]
#[command(after_help = CHAT_EXAMPLES)]
pub(crate) struct ChatArgs {
    /// The model; left out, builtin:stories
    pub(crate) model: Option<String>,
    /// Answer this prompt and leave; left out, read stdin when it is piped, else chat interactively
    #[arg(short, long)]
    pub(crate) prompt: Option<String>,
    /// The prompt as token ids, exactly as the model sees them
    #[arg(long, value_delimiter = ',', value_name = "ID,ID…", conflicts_with_all = ["prompt", "system"])]
    pub(crate) ids: Option<Vec<u32>>,
    /// What the model is told to be, before the conversation
    #[arg(long, conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    /// Whether a model that can think first does so; left out, as its chat template has it
    #[arg(long, value_name = "on|off", hide_possible_values = true, conflicts_with_all = ["raw", "ids"])]
    pub(crate) thinking: Option<Switch>,
    /// Functions that the model may call: a JSON file with a list of OpenAI's descriptions. With --json the calls are `tool_calls`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "ids", "schema", "grammar"])]
    pub(crate) tools: Option<PathBuf>,
    /// No chat template: continue the prompt as it stands
    #[arg(long)]
    pub(crate) raw: bool,
    /// At most this many tokens per answer; left out, until the model ends or the context is full
    #[arg(short = 'n', long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// What happens where the text is longer than the context
    #[arg(long, value_enum, default_value_t = OverflowArg::Error)]
    pub(crate) overflow: OverflowArg,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) speculate: SpeculateArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// End the answer before this text; may be repeated
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["schema", "grammar"])]
    pub(crate) stop: Vec<String>,
    /// The answer is JSON that the schema in this file holds for
    #[arg(long, value_name = "FILE", conflicts_with = "grammar")]
    pub(crate) schema: Option<PathBuf>,
    /// The answer is a text of the grammar in this file, in Lark's syntax, beginning with the rule `start`
    #[arg(long, value_name = "FILE")]
    pub(crate) grammar: Option<PathBuf>,
    /// Also report the K most probable tokens of each step (with --json)
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) logprobs: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum OverflowArg {
    /// A prompt that fills the context is an error, an answer ends where the context does
    Error,
    /// The oldest tokens after the first quarter go, what is left is read again, and the answer goes on; turns of an interactive
    /// chat go whole
    Shift,
    /// A prompt keeps its beginning (a quarter of the context) and its end; the middle is left out
    TruncateMiddle,
}

/// How tokens are chosen.
#[derive(Args)]
pub(crate) struct SamplingArgs {
    /// Randomness: 0 always takes the most probable token
    #[arg(long, default_value_t = 0.7)]
    pub(crate) temp: f32,
    /// Choose among the K most probable tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 40)]
    pub(crate) top_k: u32,
    /// Choose among the fewest tokens whose probabilities reach P
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub(crate) top_p: f32,
    /// Drop tokens less than P times as probable as the best
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub(crate) min_p: f32,
    /// Make recent tokens less probable; 1 is off
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub(crate) repeat_penalty: f32,
    /// Repeat an answer: the same seed draws the same tokens; left out, a new one each time
    #[arg(long)]
    pub(crate) seed: Option<u32>,
}
