//! Tasks that give each text a result of its own: printed below each other, or as columns beside the rows of a table.

use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::notes::Notes;
use super::progress::Bar;
use super::rows::Task;
use super::texts::{TEXTS_PER_BATCH, Texts};
use serde::Serialize;
use trice::rows::Cell;
use trice::session::Cancel;
use trice::tasks::Reading;

/// What a command does to texts.
pub(crate) trait PerText {
    /// What is done, for the progress bar: `Classifying`.
    const DOING: &'static str;

    /// What comes of a text, as `--json` prints it behind the text's number.
    type Result: Serialize;

    /// A result for each text.
    async fn results(&mut self, texts: &[&str]) -> trice::Result<Vec<Self::Result>>;

    /// How a text was read, where that may be worth a note.
    fn reading(result: &Self::Result) -> Option<&Reading>;

    /// A result as a cell of each column that was asked for.
    fn cells(&self, result: Self::Result) -> trice::Result<Vec<Cell>>;

    /// A result as lines for a person.
    fn lines(&self, text: &str, result: &Self::Result) -> Vec<String>;

    /// Whether a text is printed above its lines where there are several.
    const IS_TEXT_SHOWN: bool = true;

    /// What stops `results` from now on.
    fn set_cancel(&mut self, cancel: Cancel);
}

/// Does `task` to `texts`, then says what is to be noted of how they were read.
pub(crate) async fn run<T: PerText>(
    context: &Context,
    task: T,
    texts: Texts,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut noted = Noted { task, notes: Notes::default() };
    match texts {
        Texts::Given(texts) => noted.print_all(context, &texts, interrupt).await?,
        Texts::Rows(rows) => rows.run(context, &mut noted, interrupt).await?,
    }
    noted.notes.say(context);
    Ok(())
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a, R> {
    /// Which text, counted from 0.
    index: usize,
    #[serde(flatten)]
    result: &'a R,
}

struct Noted<T> {
    task: T,
    notes: Notes,
}

impl<T: PerText> Noted<T> {
    async fn results(&mut self, texts: &[&str]) -> trice::Result<Vec<T::Result>> {
        let results = self.task.results(texts).await?;
        results.iter().filter_map(T::reading).for_each(|reading| self.notes.add(reading));
        Ok(results)
    }

    async fn print_all(&mut self, context: &Context, texts: &[String], interrupt: &Interrupt) -> anyhow::Result<()> {
        self.task.set_cancel(interrupt.arm());
        let bar = Bar::new(context);
        for (batch, chunk) in texts.chunks(TEXTS_PER_BATCH).enumerate() {
            let first = batch * TEXTS_PER_BATCH;
            bar.count(T::DOING, first as u64, texts.len() as u64);
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            for (i, result) in self.results(&chunk).await?.iter().enumerate() {
                match context.output {
                    Output::Json => context.print_json(&Line { index: first + i, result })?,
                    Output::Text => {
                        if T::IS_TEXT_SHOWN && texts.len() > 1 {
                            context.print(chunk[i])?;
                        }
                        self.task.lines(chunk[i], result).iter().try_for_each(|line| context.print(line))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl<T: PerText> Task for Noted<T> {
    const DOING: &'static str = T::DOING;

    async fn run(&mut self, texts: &[&str]) -> trice::Result<Vec<Vec<Cell>>> {
        let results = self.results(texts).await?;
        results.into_iter().map(|result| self.task.cells(result)).collect()
    }

    fn set_cancel(&mut self, cancel: Cancel) {
        self.task.set_cancel(cancel);
    }
}
