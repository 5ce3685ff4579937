//! Many texts: tables of every format through `classify` and `embed`, bad rows with them, and what comes of interruptions.

mod learn;
#[cfg(feature = "tables")]
mod parquet;
mod resume;
mod streams;
mod text;

use crate::program::{last_error, run};
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// A folder with one file, and the paths of both that file and of a result that is not there yet.
struct Files {
    folder: TempDir,
    table: String,
    out: String,
}

impl Files {
    fn new(extension: &str, table: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("{name}.{extension}")).display().to_string();
        let (table_path, out) = (path("in"), path("out"));
        std::fs::write(&table_path, table).unwrap();
        Self { table: table_path, out, folder }
    }

    /// Runs `command` from the table to the result.
    fn run(&self, command: &[&str]) -> Output {
        run(&[command, &["--file", &self.table, "-o", &self.out]].concat())
    }

    /// The same, and what is in the result then.
    fn result(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        self.read()
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }
}

/// Refused with this exit code and these words, and nothing is written.
fn assert_refused(output: &Output, code: i32, words: &[&str], out: &str) {
    let error = last_error(output);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert!(output.stdout.is_empty() && !Path::new(out).exists());
}
