//! Every command, flag and default, and the help that teaches them. Holds no behaviour.

#[cfg(feature = "server")]
mod serve;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use trice::format::DType;
use trice::format::mix::Mix;
use trice::rows::Format;

#[cfg(feature = "server")]
pub(crate) use serve::ServeArgs;

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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "ids"])]
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

/// What becomes of a model's weights.
#[derive(Args, Clone, Default)]
pub(crate) struct WeightArgs {
    /// Round float weights to this type, such as Q8_0 or Q4_K_M, while loading
    #[arg(long, value_name = "TYPE", value_parser = Mix::from_name)]
    pub(crate) load_as: Option<Mix>,
    /// Lay a LoRA adapter on the model, a PEFT folder or a GGUF, at this strength (1 unless given); may be repeated
    #[arg(long, value_name = "ADAPTER[=STRENGTH]", value_parser = Lora::parse)]
    pub(crate) lora: Vec<Lora>,
}

/// An adapter by name, and how strong it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lora {
    pub(crate) name: String,
    pub(crate) strength: f32,
}

impl Lora {
    fn parse(text: &str) -> Result<Self, String> {
        let whole = |name: &str, strength| Self { name: name.to_owned(), strength };
        match text.rsplit_once('=') {
            None => Ok(whole(text, 1.0)),
            Some((name, strength)) => match strength.parse::<f32>() {
                Ok(strength) if strength.is_finite() => Ok(whole(name, strength)),
                // A name may hold the sign itself, as addresses do.
                _ if name.contains("://") => Ok(whole(text, 1.0)),
                _ => Err(format!("a finite number wanted after =, not {strength:?}")),
            },
        }
    }
}

/// How a decoder is loaded.
#[derive(Args, Clone)]
pub(crate) struct LoadArgs {
    /// Tokens of context; left out, the model's own but at most 4096
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=2_097_152))]
    pub(crate) ctx: Option<u32>,
    /// Element type of the KV cache
    #[arg(long, value_enum, default_value_t = KvTypeArg::F16)]
    pub(crate) kv_type: KvTypeArg,
    #[command(flatten)]
    pub(crate) weights: WeightArgs,
    /// Answers at once, which commands ask for by flags of their own.
    #[arg(skip = 1usize)]
    pub(crate) parallel: usize,
}

/// Whether tokens are guessed ahead.
#[derive(Args, Clone, Default)]
pub(crate) struct SpeculateArgs {
    /// Guess several tokens ahead and check them at once: lookup guesses what followed when the last words stood in the text
    /// before, which makes answers that repeat their prompt faster. What is answered stays the same
    #[arg(long, value_enum, default_value_t = SpeculateArg::Off)]
    pub(crate) speculate: SpeculateArg,
    /// Let this smaller model guess ahead, which must have the same vocabulary; for large models on fast GPUs
    #[arg(long, value_name = "MODEL", conflicts_with = "speculate")]
    pub(crate) draft: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpeculateArg {
    #[default]
    Off,
    Lookup,
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

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KvTypeArg {
    F32,
    F16,
    #[value(name = "q8_0")]
    Q8,
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

const TEXTS_HELP: &str = "\
Texts come from the arguments, from a table (--file), or from stdin (a text per line, answered as
it comes). A table comes out in its own format, in order, with columns added. No row is lost: one
without a result says why in the column error. Lines get their results behind tabs. With --json a
row becomes {\"index\": ..., its results} on a line.
The first argument is the MODEL when it reads like one: a prefix such as hf:, a path with a slash,
or a model file.";

const CLASSIFY_EXAMPLES: &str = "\
Examples:
  trice classify \"What a lovely film\"                                   the built-in sentiment model
  trice classify builtin:intent \"My card has not come yet\" --top 3         what one may ask an assistant or a bank for
  trice classify --labels sports,politics \"They won the cup\"            the built-in encoder compares meanings
  trice classify ./minilm-sst2 \"What a lovely film\" --json
  trice classify ./all-MiniLM-L6-v2 --head trec6.safetensors --file questions.txt --top 2
  trice classify chat-model.gguf --labels sports,politics \"They won the cup\"    a model that writes text, by likelihood
  trice classify --file reviews.csv --column review -o labelled.csv     adds label, score and error to each row
  trice classify --file reviews.parquet -o labelled.parquet --resume    goes on where an earlier run was stopped
  trice classify --explain \"What a lovely film\"                         and which words make it so
  tail -f app.log | trice classify                                      answers line by line
  trice classify --train train.csv --test test.csv -o intents.safetensors    a classifier of your own
  trice classify --head intents.safetensors \"Where is my card?\"";

#[derive(Args)]
#[command(before_help = TEXTS_HELP, after_help = CLASSIFY_EXAMPLES)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// Your own labels: compared with the text by meaning, or, by a model that writes text, scored by how much likelier the text makes them
    #[arg(long, value_delimiter = ',', value_name = "A,B,C")]
    pub(crate) labels: Vec<String>,
    /// Judge each label alone instead of one among all
    #[arg(long)]
    pub(crate) multi_label: bool,
    /// Sentence around an own label, {} standing for it
    #[arg(long, value_name = "TEXT", requires = "labels")]
    pub(crate) template: Option<String>,
    /// Print only the K best labels; a table gets the best one, and a column labels for more
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,
    /// Say why: what each word adds to the best label's score (or LABEL's); a column explanation in a table
    #[arg(long, value_name = "LABEL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) explain: Option<String>,
    /// What becomes of texts longer than the model's context
    #[arg(long, value_enum, default_value_t = LongArg::Truncate)]
    pub(crate) long: LongArg,
    /// A linear head (safetensors) on the model's embeddings
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    pub(crate) head: Option<PathBuf>,
    /// Learn such a head from the labelled texts of this file, and write it to -o HEAD.safetensors
    #[arg(help_heading = LEARN_HEADING, long, value_name = "FILE", conflicts_with_all = ["labels", "head", "resume", "explain"])]
    pub(crate) train: Option<PathBuf>,
    /// Say how many of the labelled texts of this file get their label
    #[arg(help_heading = LEARN_HEADING, long, value_name = "FILE", conflicts_with_all = ["resume", "explain"])]
    pub(crate) test: Option<PathBuf>,
    /// The column of the labels; left out, label, intent, category or the like
    #[arg(help_heading = LEARN_HEADING, long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
}

const LEARN_HEADING: &str = "Learning from examples";

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LongArg {
    /// Their beginning is read, which the result says
    Truncate,
    /// They are read in windows, and the result is of all of them
    Windows,
}

/// Where texts come from.
#[derive(Args)]
pub(crate) struct TextArgs {
    /// The model (left out: the built-in one), then texts
    #[arg(value_name = "MODEL|TEXT")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) rows: RowsArgs,
    #[command(flatten)]
    pub(crate) weights: WeightArgs,
}

const DOCUMENTS_HELP: &str = "\
Texts come from the arguments, or one from --file or from stdin, as a whole. One longer than the context is worked on in pieces.
The first argument is the MODEL when it reads like one: a prefix such as hf:, a path with a slash, or a model file.";

const SUMMARIZE_EXAMPLES: &str = "\
Examples:
  trice summarize chat-model.gguf --file report.txt
  curl -s https://example.org/article.txt | trice summarize chat-model.gguf -n 100";

const RELATIONS_EXAMPLES: &str = "\
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

const ROWS_HEADING: &str = "Many texts";

/// Many texts, as the rows of a table.
#[derive(Args)]
pub(crate) struct RowsArgs {
    /// Read texts from this file: CSV, TSV, JSONL or Parquet by its extension, else a text per line; - is stdin
    #[arg(help_heading = ROWS_HEADING, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The format of --file or stdin, where no extension says it
    #[arg(help_heading = ROWS_HEADING, long, value_enum)]
    pub(crate) format: Option<Format>,
    /// The column of the texts; left out, text, sentence, content or the like, or the only one that can be it
    #[arg(help_heading = ROWS_HEADING, long, value_name = "NAME")]
    pub(crate) column: Option<String>,
    /// CSV and TSV: the first line is a row, and columns are called 1, 2, ...
    #[arg(help_heading = ROWS_HEADING, long)]
    pub(crate) no_header: bool,
    /// Write to this file instead of stdout, in the format of the input; one that is there is not replaced
    #[arg(help_heading = ROWS_HEADING, short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Go on behind the last whole row of OUT, after a Ctrl-C or a crash; begin where there is none
    #[arg(help_heading = ROWS_HEADING, long, requires = "output")]
    pub(crate) resume: bool,
}

const EMBED_EXAMPLES: &str = "\
Examples:
  trice embed \"a text\" \"another\" --json                             by the built-in encoder
  trice embed ./all-MiniLM-L6-v2 \"a text\" \"another\" --json --normalize
  trice embed hf:sentence-transformers/all-MiniLM-L6-v2 --file lines.txt --json > vectors.jsonl
  trice embed ./all-MiniLM-L6-v2 --file articles.parquet -o vectors.parquet   adds a column embedding";

#[derive(Args)]
#[command(before_help = TEXTS_HELP, after_help = EMBED_EXAMPLES)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// How token vectors become one; left out, as the model says
    #[arg(long, value_enum)]
    pub(crate) pooling: Option<PoolingArg>,
    /// Scale each vector to length 1
    #[arg(long)]
    pub(crate) normalize: bool,
    /// What becomes of texts longer than the model's context
    #[arg(long, value_enum, default_value_t = LongArg::Truncate)]
    pub(crate) long: LongArg,
}

const TAG_EXAMPLES: &str = "\
Examples:
  trice tag ./minilm-wnut17 \"Redondo Beach is in California\"
  trice tag ./bert-base-NER --file lines.txt --aggregation first --json";

#[derive(Args)]
#[command(before_help = TEXTS_HELP, after_help = TAG_EXAMPLES)]
pub(crate) struct TagArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// How the classes of tokens become entities, as transformers does it
    #[arg(long, value_enum, default_value_t = AggregationArg::Simple)]
    pub(crate) aggregation: AggregationArg,
    /// What becomes of texts longer than the model's context
    #[arg(long, value_enum, default_value_t = LongArg::Truncate)]
    pub(crate) long: LongArg,
    /// Tokens that neighbouring windows share
    #[arg(long, value_name = "TOKENS", default_value_t = 64)]
    pub(crate) stride: usize,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum AggregationArg {
    /// Every token is one
    None,
    /// Neighbouring tokens of one class are one entity
    Simple,
    /// Words instead of tokens: a word is what its first token is
    First,
    /// A word is what the mean of its tokens says
    Average,
    /// A word is what its surest token is
    Max,
}

/// `--quiet` where `-q` is a question's: the name hides the global flag.
#[derive(Args)]
pub(crate) struct QuietArg {
    /// No progress and no notes on stderr
    #[arg(id = "quiet", long = "quiet")]
    pub(crate) is_set: bool,
}

const ANSWER_EXAMPLES: &str = "\
Examples:
  trice answer ./minilm-squad2 -q \"Who wrote it?\" --context \"Emma was written by Jane Austen.\"
  trice answer ./roberta-base-squad2 -q \"When was it built?\" --file article.txt --top 3 --no-answer --json";

#[derive(Args)]
#[command(after_help = ANSWER_EXAMPLES)]
pub(crate) struct AnswerArgs {
    /// The model: one with a head for question answering
    pub(crate) model: String,
    /// What is asked
    #[arg(short, long)]
    pub(crate) question: String,
    #[command(flatten)]
    pub(crate) quiet: QuietArg,
    /// The text in which the answer stands
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub(crate) context: Option<String>,
    /// Read the context from this file; left out like --context, or -, from stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print the K best answers
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) top: u32,
    /// Tokens of an answer at most
    #[arg(long, value_name = "TOKENS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) max_answer_len: u32,
    /// Tokens that neighbouring windows of a long context share; left out, 128
    #[arg(long, value_name = "TOKENS")]
    pub(crate) stride: Option<usize>,
    /// Let \"there is no answer\" be one of the answers, an empty one
    #[arg(long)]
    pub(crate) no_answer: bool,
    #[command(flatten)]
    pub(crate) weights: WeightArgs,
}

const RERANK_EXAMPLES: &str = "\
Examples:
  trice rerank -q \"cheap flights\" \"low fares\" \"warm socks\"          by the built-in encoder
  trice rerank ./ms-marco-MiniLM-L6-v2 -q \"how do cats purr\" --file passages.txt --top 5
  trice rerank ./all-MiniLM-L6-v2 -q \"cheap flights\" \"low fares\" \"warm socks\" --json

A model with a head of one class reads query and text together; of others the vectors are compared.";

#[derive(Args)]
#[command(after_help = RERANK_EXAMPLES)]
pub(crate) struct RerankArgs {
    /// The model (left out: the built-in one), then texts
    #[arg(value_name = "MODEL|TEXT")]
    pub(crate) words: Vec<String>,
    /// Read a text per line from this file; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) weights: WeightArgs,
    /// What the texts are to answer
    #[arg(short, long)]
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) quiet: QuietArg,
    /// Print only the K best texts
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,
}

const FILL_EXAMPLES: &str = "\
Example:
  trice fill ./bert-base-uncased \"Paris is the [MASK] of France.\" --top 3";

#[derive(Args)]
#[command(before_help = TEXTS_HELP, after_help = FILL_EXAMPLES)]
pub(crate) struct FillArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// Print the K best words
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) top: u32,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PoolingArg {
    Mean,
    Cls,
    Last,
}

const PERPLEXITY_EXAMPLES: &str = "\
Example:
  trice perplexity model.gguf --file stories.txt --separator '<|endoftext|>' --max-docs 60 --ctx 512

Each document is stripped, begins with the model's begin token, and is cut at --ctx tokens.";

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

const QUANTIZE_EXAMPLES: &str = "\
Examples:
  trice quantize ./SmolLM2-135M-Instruct smol-q4.gguf --type Q4_K_M
  trice quantize model-f16.gguf model-q8.gguf --type Q8_0
  trice quantize ./all-MiniLM-L6-v2 minilm.gguf --type Q8_0
  trice quantize model-f16.gguf model-q3.gguf --type Q3_K_M --calibration texts.txt

Types: F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0, Q3_K_L, Q3_K_M, Q3_K_S, Q2_K.
The mixes (_S, _M, _L) give the matrices that matter most more bits. Norms, biases and tables of positions stay F32.";

#[derive(Args)]
#[command(after_help = QUANTIZE_EXAMPLES)]
pub(crate) struct QuantizeArgs {
    /// A GGUF file or a Hugging Face folder, by any name that MODEL may have
    #[arg(value_name = "IN")]
    pub(crate) model: String,
    /// The file to write, a .gguf; one that exists is replaced
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// What matrices become
    #[arg(long = "type", value_name = "TYPE", value_parser = Mix::from_name)]
    pub(crate) mix: Mix,
    /// Another type for the embedding and the head; left out, Q6_K, or TYPE where it has more bits
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    pub(crate) embeddings: Option<DType>,
    /// A text such as the model will read: what it makes of it says which weights matter (runs IN on the GPU; decoders only)
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
}

fn dtype(name: &str) -> Result<DType, String> {
    let names = || DType::all().map(DType::name).collect::<Vec<_>>().join(", ");
    DType::from_name(name).ok_or_else(|| format!("one of {} wanted", names()))
}
