//! Many texts: the rows of a table through a task and out again, a window at a time and in order, with columns of results
//! added. A task says which columns it has and what stands in them; it knows nothing of files.

use super::context::Context;
use super::interrupt::Interrupt;
use super::progress::Bar;
use std::path::Path;
use std::time::Instant;
use trice::Error;
use trice::rows::{Cell, Outcome, Text};
use trice::session::Cancel;

mod indexed;
mod open;
#[cfg(feature = "tables")]
mod parquet;
#[cfg(feature = "tables")]
mod parquet_parts;
mod text_reader;
mod text_writer;

pub(crate) use open::Rows;

/// Rows that are read, judged and written together: enough to fill the GPU, few enough to lose to Ctrl-C.
const WINDOW: usize = 256;

/// What fills the added columns.
pub(crate) trait Task {
    /// What is done to the texts, for the progress bar: `Classifying`.
    const DOING: &'static str;

    /// For each text a cell of each column that the rows were opened with.
    async fn run(&mut self, texts: &[&str]) -> trice::Result<Vec<Vec<Cell>>>;

    /// What stops `run` from now on.
    fn set_cancel(&mut self, cancel: Cancel);
}

/// A few rows: their texts, and what will be written again.
struct Window<K> {
    texts: Vec<Text>,
    kept: K,
}

/// How much of a table has been read, in bytes or rows.
struct Done {
    done: u64,
    /// None of a stream.
    total: Option<u64>,
}

/// Reads the rows of one format.
trait Reader {
    /// What a window's rows are written again from.
    type Kept;

    /// At most `WINDOW` rows; none at the end. A stream gives what has come, and waits only for the first.
    fn read(&mut self) -> anyhow::Result<Window<Self::Kept>>;

    /// Leaves out `n` rows.
    fn skip(&mut self, n: u64) -> anyhow::Result<()>;

    /// Whether somebody may be waiting for an answer before the next row comes.
    fn is_live(&self) -> bool;

    fn done(&self) -> Done;
}

/// Writes rows with their results, so that all that was written stands when `write` returns.
trait Writer<K> {
    /// Whether rows appear where a progress bar would be in their way.
    fn is_on_screen(&self) -> bool;

    /// Rows that an earlier run has written.
    fn n_before(&self) -> u64;

    fn write(&mut self, kept: K, outcomes: &[Outcome]) -> anyhow::Result<()>;

    /// Leaves a state that `--resume` goes on from.
    fn suspend(&mut self) -> anyhow::Result<()>;

    /// Ends a table that is whole.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// What came of all rows.
struct Tally {
    start: Instant,
    /// Rows of earlier runs.
    n_before: u64,
    n_rows: u64,
    n_bad: u64,
    /// The number of the first bad row of the file, from 1, and what is wrong with it.
    first_bad: Option<(u64, String)>,
}

impl Tally {
    fn new(n_before: u64) -> Self {
        Self { start: Instant::now(), n_before, n_rows: 0, n_bad: 0, first_bad: None }
    }

    fn add(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.n_rows += 1;
            if let Err(reason) = outcome {
                self.n_bad += 1;
                self.first_bad.get_or_insert_with(|| (self.n_before + self.n_rows, reason.clone()));
            }
        }
    }

    fn rows_per_s(&self) -> f64 {
        self.n_rows as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    /// Says what came of the rows, and how far the table `out` has come.
    fn note(&self, context: &Context, out: Option<&Path>, is_whole: bool) {
        if let Some((row, reason)) = &self.first_bad {
            let (n_bad, n_rows) = (self.n_bad, self.n_rows);
            context.note(&format!(
                "{n_bad} of {n_rows} rows have an error instead of a result; the first is row {row}: {reason}"
            ));
        }
        let Some(out) = out.map(Path::display) else { return };
        let (n_rows, rate) = (self.n_before + self.n_rows, self.rows_per_s());
        if is_whole && self.n_rows == 0 {
            context.note(&format!("{out}: all {n_rows} rows were there already"));
        } else if is_whole {
            context.note(&format!("{out}: {n_rows} rows, {rate:.0} a second"));
        } else if n_rows > 0 {
            context.note(&format!("{out}: {n_rows} rows and not whole; the same command with --resume goes on"));
        }
    }
}

/// The whole way of a table: what is read goes through `task` to `writer`. Returns what came of it, however it ended.
async fn run<R: Reader, T: Task>(
    context: &Context,
    reader: &mut R,
    writer: &mut impl Writer<R::Kept>,
    task: &mut T,
    interrupt: &Interrupt,
) -> (Tally, anyhow::Result<()>) {
    let mut tally = Tally::new(writer.n_before());
    let ended = run_windows(context, reader, writer, task, interrupt, &mut tally).await;
    if ended.is_ok() {
        return (tally, writer.finish());
    }
    if let Err(error) = writer.suspend() {
        // What stopped the run is told in the end; this came of it, or cost no more than what --resume does again.
        tracing::warn!("the last rows are not written: {error:#}");
    }
    (tally, ended)
}

async fn run_windows<R: Reader, T: Task>(
    context: &Context,
    reader: &mut R,
    writer: &mut impl Writer<R::Kept>,
    task: &mut T,
    interrupt: &Interrupt,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let bar = Bar::new(context);
    task.set_cancel(interrupt.arm());
    loop {
        if reader.is_live() {
            // All that came is written, so Ctrl-C may end the wait for more.
            interrupt.disarm();
        }
        let window = reader.read()?;
        if reader.is_live() {
            task.set_cancel(interrupt.arm());
        }
        if window.texts.is_empty() {
            return Ok(());
        }
        let outcomes = judge(task, &window.texts).await?;
        writer.write(window.kept, &outcomes)?;
        tally.add(&outcomes);
        if !writer.is_on_screen() {
            let Done { done, total } = reader.done();
            bar.rows(T::DOING, tally.n_rows, tally.rows_per_s(), done, total);
        }
    }
}

/// The outcome of each text of a window. Texts of like length stand side by side, so that batches take equally long.
async fn judge(task: &mut impl Task, texts: &[Text]) -> trice::Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> =
        texts.iter().map(|text| text.as_ref().map(|_| Vec::new()).map_err(String::clone)).collect();
    let mut good: Vec<(usize, &str)> =
        texts.iter().enumerate().filter_map(|(i, text)| Some((i, text.as_deref().ok()?))).collect();
    good.sort_by_key(|(_, text)| text.len());
    let sorted: Vec<&str> = good.iter().map(|(_, text)| *text).collect();
    let found = run_each(task, &sorted).await?;
    debug_assert_eq!(found.len(), sorted.len(), "a task answers each text");
    for ((i, _), outcome) in good.iter().zip(found) {
        outcomes[*i] = outcome;
    }
    Ok(outcomes)
}

/// All texts at once; one by one where some of them cannot be, which is those texts' fault alone.
async fn run_each(task: &mut impl Task, texts: &[&str]) -> trice::Result<Vec<Outcome>> {
    match task.run(texts).await {
        Ok(cells) => return Ok(cells.into_iter().map(Ok).collect()),
        Err(error) if !is_about_a_text(&error) => return Err(error),
        Err(_) => {}
    }
    let mut outcomes = Vec::with_capacity(texts.len());
    for text in texts {
        outcomes.push(match task.run(&[text]).await {
            Ok(mut cells) => Ok(cells.pop().unwrap_or_default()),
            Err(error) if is_about_a_text(&error) => Err(error.to_string()),
            Err(error) => return Err(error),
        });
    }
    Ok(outcomes)
}

/// Whether another text may fare better.
fn is_about_a_text(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. } | Error::Limit { .. })
}
