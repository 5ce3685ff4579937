//! The arguments of what encoders do with texts: classify, embed, tag, answer, rerank and fill.

use super::WeightArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use trice::rows::Format;

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
