//! Progress bars on stderr: bytes while downloading and reading, counts for the rest.

use super::context::Context;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use trice::hub::DownloadProgress;
use trice::session::{Progress, Stage};

const BYTES: &str = "{msg} {bar:20} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
const ROWS: &str = "{msg} {bar:20} {percent}%, {eta} left";
const STREAM: &str = "{spinner} {msg}";
const COUNT: &str = "{msg} {bar:20} {pos} of {len}";

/// A bar that follows whatever is being done; invisible with `-q` or where stderr is no terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows nothing until it is told something.
    pub(crate) fn new(context: &Context) -> Self {
        let target = if context.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self(ProgressBar::with_draw_target(None, target))
    }

    /// Shows how far a download is.
    pub(crate) fn download(&self, progress: &DownloadProgress) {
        self.show(BYTES, &format!("Downloading {}", progress.file), progress.done, progress.total.unwrap_or(0));
    }

    /// Shows how far loading is.
    pub(crate) fn load(&self, progress: Progress) {
        match progress.stage {
            Stage::Reading => self.show(BYTES, "Reading", progress.done, progress.total),
            Stage::Compiling => self.show(COUNT, "Compiling shaders", progress.done, progress.total),
        }
    }

    /// Shows how many of `total` bytes are done.
    pub(crate) fn bytes(&self, what: &str, done: u64, total: u64) {
        self.show(BYTES, what, done, total);
    }

    /// Shows how many of `total` things are done.
    pub(crate) fn count(&self, what: &str, done: u64, total: u64) {
        self.show(COUNT, what, done, total);
    }

    /// Shows how many rows are done and how fast, and how much of their table, in whatever unit; none of a stream.
    pub(crate) fn rows(&self, what: &str, n_rows: u64, rows_per_s: f64, done: u64, total: Option<u64>) {
        let message = format!("{what}: {} rows, {rows_per_s:.0} a second", HumanCount(n_rows));
        if self.0.position() == 0 {
            self.style(if total.is_some() { ROWS } else { STREAM });
            // What an earlier run has done takes this one no time.
            self.0.set_position(done);
            self.0.reset_eta();
        }
        self.0.set_message(message);
        self.0.set_length(total.unwrap_or(done));
        self.0.set_position(done);
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// The templates are constants; a bad one falls back to the plain bar.
    fn style(&self, template: &str) {
        self.0.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    }

    fn show(&self, template: &str, message: &str, done: u64, total: u64) {
        if self.0.message() != message {
            self.style(template);
            self.0.set_message(message.to_string());
            self.0.reset_eta();
        }
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
