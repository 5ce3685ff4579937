//! Every command, flag and default, and the help that teaches them. Holds no behaviour.

mod chat;
mod load;
mod measure;
mod quantize;
#[cfg(feature = "server")]
mod serve;
mod tasks;
mod texts;

use clap::{Args, Parser, Subcommand};

pub(crate) use chat::{ChatArgs, OverflowArg, SamplingArgs, Switch};
pub(crate) use load::{KvTypeArg, LoadArgs, Lora, SpeculateArg, SpeculateArgs, WeightArgs};
pub(crate) use measure::{BenchArgs, DevicesArgs, PerplexityArgs, ProfileArgs};
pub(crate) use quantize::QuantizeArgs;
#[cfg(feature = "server")]
pub(crate) use serve::ServeArgs;
use tasks::{DOCUMENTS_HELP, RELATIONS_EXAMPLES, SUMMARIZE_EXAMPLES};
pub(crate) use tasks::{TaskArgs, TranslateArgs};
pub(crate) use texts::{
    AggregationArg, AnswerArgs, ClassifyArgs, EmbedArgs, FillArgs, LongArg, PoolingArg, RerankArgs, RowsArgs, TagArgs,
    TextArgs,
};

const EXAMPLES: &str = "\
Examples:
  trice chat                                          chat with the built-in story model
  trice chat hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M
  trice chat model.gguf -p \"Why is the sky blue?\" -n 200
  trice classify \"What a lovely film\"                 with the built-in sentiment model
  trice serve                                         the page and an OpenAI-compatible server
  trice devices                                       which GPUs there are

MODEL is a path (.gguf, the first shard of a split GGUF, or a folder with config.json and safetensors),
hf:owner/repo[:quant-or-file], an http(s) URL, builtin:NAME, or random:SHAPE[:QUANT] (15m, 15m-256k, 110m, 135m, 1b, wide, wide-untied, minilm).

Exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted. Results go to stdout, all else to stderr.";

/// Runs quantized transformers on any GPU.
#[derive(Parser)]
#[command(name = "trice", bin_name = "trice", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct Global {
    /// The GPU to use: its index in `trice devices`, or a part of its name
    #[arg(long, global = true, env = "TRICE_DEVICE", value_name = "NAME|INDEX")]
    pub(crate) device: Option<String>,
    /// Force one of several right shaders, such as one-column=team-2; otherwise the fastest, as measured, is taken
    #[arg(long = "variant", global = true, value_name = "NAME=CHOICE")]
    pub(crate) variants: Vec<String>,
    /// Print results as JSON (one object, or one per line)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no notes on stderr
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Chat with a model, or continue a text
    Chat(ChatArgs),
    /// Label texts: by a model's head, or by your own labels
    Classify(ClassifyArgs),
    /// Turn texts into vectors
    Embed(EmbedArgs),
    /// Find named entities in texts
    Tag(TagArgs),
    /// Answer a question out of a text
    Answer(AnswerArgs),
    /// Order texts by how well they answer a query
    Rerank(RerankArgs),
    /// Find words for the hidden places of texts
    Fill(FillArgs),
    /// Say in a few sentences what a text says
    #[command(before_help = DOCUMENTS_HELP, after_help = SUMMARIZE_EXAMPLES)]
    Summarize(TaskArgs),
    /// Translate a text
    Translate(TranslateArgs),
    /// List what a text says of what: triples of head, relation and tail
    #[command(before_help = DOCUMENTS_HELP, after_help = RELATIONS_EXAMPLES)]
    Relations(TaskArgs),
    /// Measure how well a model predicts a text
    Perplexity(PerplexityArgs),
    /// Show what is in a model file and what it needs
    Inspect(ModelArg),
    /// List the GPUs and measure what each does at best
    Devices(DevicesArgs),
    /// Measure tokens per second
    Bench(BenchArgs),
    /// Show where a model's time goes, kernel by kernel
    Profile(ProfileArgs),
    /// Download a model into the cache
    Pull(ModelArg),
    /// Write a model to a GGUF file with smaller weights
    Quantize(QuantizeArgs),
    /// Serve the page and an OpenAI-compatible API
    #[cfg(feature = "server")]
    Serve(ServeArgs),
}

impl Command {
    /// Whether the command itself was told to be quiet.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Answer(args) => args.quiet.is_set,
            Self::Rerank(args) => args.quiet.is_set,
            _ => false,
        }
    }

    /// Whether the command stays and answers requests.
    pub(crate) fn is_server(&self) -> bool {
        #[cfg(feature = "server")]
        return matches!(self, Self::Serve(_));
        #[cfg(not(feature = "server"))]
        false
    }
}

/// A model that must be named.
#[derive(Args)]
pub(crate) struct ModelArg {
    /// Path, hf:owner/repo[:quant], URL, builtin:NAME or random:SHAPE[:QUANT]
    pub(crate) model: String,
}
