//! The command line: what each command is called and takes, and how it ends. The commands themselves are in the files
//! beside this one; none of them knows tensors.

use clap::Parser;
use std::fmt;
use std::io;
use std::process::ExitCode;

mod answer;
mod args;
mod bench;
mod chat;
mod chat_tasks;
mod chat_turns;
mod classify;
mod context;
mod devices;
mod embed;
mod fill;
mod inspect;
mod interrupt;
mod learn;
mod model;
mod notes;
mod per_text;
mod perplexity;
mod profile;
mod progress;
mod pull;
mod quantize;
mod rerank;
mod rows;
#[cfg(feature = "server")]
mod serve;
mod tag;
mod texts;
mod tuned;

use args::{Cli, Command};
use context::Context;
#[cfg(feature = "server")]
pub(crate) use {args::WeightArgs, chat::random_seed, tuned::open_gpu};

/// Exit code of a command that could not do its work.
const EXIT_FAILED: u8 = 1;
/// Exit code of a command that was called wrongly; clap uses the same.
const EXIT_USAGE: u8 = 2;
/// Exit code of a command that the user stopped: 128 + SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// A command called in a way that makes no sense, where clap could not know.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Parses the arguments, runs the command, and turns its end into one line and an exit code.
pub(crate) fn main() -> ExitCode {
    let Cli { mut global, command } = Cli::parse();
    global.quiet |= command.is_quiet();
    init_logs(&command);
    let context = Context::new(global);
    match run(&context, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Chat(args) => chat::run(context, args),
        Command::Classify(args) => classify::run(context, args),
        Command::Summarize(args) => chat_tasks::summarize(context, args),
        Command::Translate(args) => chat_tasks::translate(context, args),
        Command::Relations(args) => chat_tasks::relations(context, args),
        Command::Embed(args) => embed::run(context, args),
        Command::Tag(args) => tag::run(context, args),
        Command::Answer(args) => answer::run(context, &args),
        Command::Rerank(args) => rerank::run(context, args),
        Command::Fill(args) => fill::run(context, args),
        Command::Perplexity(args) => perplexity::run(context, args),
        Command::Inspect(args) => inspect::run(context, &args),
        Command::Devices(args) => devices::run(context, &args),
        Command::Bench(args) => bench::run(context, &args),
        Command::Profile(args) => profile::run(context, &args),
        Command::Pull(args) => pull::run(context, &args),
        Command::Quantize(args) => quantize::run(context, args),
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(context, args),
    }
}

/// Logs go to stderr: the server's requests, and warnings of everything else.
fn init_logs(command: &Command) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let own = if command.is_server() { LevelFilter::INFO } else { LevelFilter::WARN };
    let targets = Targets::new().with_target("trice", own).with_default(LevelFilter::OFF);
    let format = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
    // A second initialisation is impossible in `main`, and a missing log is no reason to stop.
    let _ = tracing_subscriber::registry().with(targets).with(format).try_init();
}

/// Says on stderr what went wrong, in one line, and returns the exit code that fits.
fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // The library's messages hold their causes already; the others' chains do not.
    let message = match error.downcast_ref() {
        Some(trice::Error::Cancelled) => {
            eprintln!("interrupted");
            return ExitCode::from(EXIT_INTERRUPTED);
        }
        Some(own) => own.to_string(),
        None => format!("{error:#}"),
    };
    eprintln!("error: {}", one_line(&message));
    let is_usage = error.is::<Usage>() || matches!(error.downcast_ref(), Some(trice::Error::Invalid { .. }));
    ExitCode::from(if is_usage { EXIT_USAGE } else { EXIT_FAILED })
}

/// The reader of our output has seen enough (`trice chat | head -1`): that is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Drivers answer in paragraphs; a message is one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("GPU, loading:\n  out of\tmemory\n"), "GPU, loading: out of memory");
    }
}
