//! `trice summarize`, `translate` and `relations`: what a chat model is told to do with texts.

use super::args::{TaskArgs, TranslateArgs};
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::texts::read_documents;
use serde::Serialize;
use trice::session::{FinishReason, GenerateOptions, Session};
use trice::tasks::chat::{self, Relations, Summary, Translation};

/// A result and its text, counted from 0: one line of `--json`.
#[derive(Serialize)]
struct Indexed<'a, T> {
    index: usize,
    #[serde(flatten)]
    result: &'a T,
}

/// What people read of a result.
trait Shown: Serialize {
    fn lines(&self) -> Vec<String>;
    fn finish_reason(&self) -> FinishReason;
}

impl Shown for Summary {
    fn lines(&self) -> Vec<String> {
        vec![self.summary_text.clone()]
    }

    fn finish_reason(&self) -> FinishReason {
        self.finish_reason
    }
}

impl Shown for Translation {
    fn lines(&self) -> Vec<String> {
        vec![self.translation_text.clone()]
    }

    fn finish_reason(&self) -> FinishReason {
        self.finish_reason
    }
}

impl Shown for Relations {
    fn lines(&self) -> Vec<String> {
        self.relations.iter().map(|triple| format!("{} | {} | {}", triple.head, triple.relation, triple.tail)).collect()
    }

    fn finish_reason(&self) -> FinishReason {
        self.finish_reason
    }
}

pub(crate) fn summarize(context: &Context, args: TaskArgs) -> anyhow::Result<()> {
    run(context, args, async |session, text, options| chat::summarize(session, text, options).await)
}

pub(crate) fn translate(context: &Context, args: TranslateArgs) -> anyhow::Result<()> {
    let to = args.to;
    run(context, args.task, async |session, text, options| chat::translate(session, text, &to, options).await)
}

pub(crate) fn relations(context: &Context, args: TaskArgs) -> anyhow::Result<()> {
    run(context, args, async |session, text, options| chat::relations(session, text, options).await)
}

/// Does `task` with every text and prints what comes of it.
fn run<T: Shown>(
    context: &Context,
    args: TaskArgs,
    task: impl AsyncFn(&mut Session, &str, &GenerateOptions) -> trice::Result<T>,
) -> anyhow::Result<()> {
    let (model, texts) = read_documents(args.words, args.file)?;
    let name = model.as_deref().unwrap_or(model::DEFAULT_DECODER);
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut session = model::load_session(context, name, &args.load, &interrupt).await?;
        let max_tokens = args.max_tokens.map(|n| n as usize);
        let options = GenerateOptions { max_tokens, cancel: interrupt.arm(), ..GenerateOptions::default() };
        for (index, text) in texts.iter().enumerate() {
            let result = task(&mut session, text, &options).await?;
            match context.output {
                Output::Json => context.print_json(&Indexed { index, result: &result })?,
                Output::Text => result.lines().iter().try_for_each(|line| context.print(line))?,
            }
            if result.finish_reason() == FinishReason::Length {
                context.note("note: an answer was cut: it may have more tokens with -n or a larger --ctx");
            }
        }
        Ok(())
    })
}
