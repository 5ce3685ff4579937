//! Progress bars on stderr: bytes while downloading and reading, counts for the rest.

use super::context::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trice::hub::DownloadProgress;
use trice::session::{Progress, Stage};

const BYTES: &str = "{msg} {bar:20} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
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

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn show(&self, template: &str, message: &str, done: u64, total: u64) {
        if self.0.message() != message {
            // The templates are constants; a bad one falls back to the plain bar.
            self.0.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
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
