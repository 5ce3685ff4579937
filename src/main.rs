//! The `trice` program: a terminal and an HTTP surface over the library. Holds no model code.

use std::process::ExitCode;

mod cli;
#[cfg(feature = "server")]
mod server;

fn main() -> ExitCode {
    cli::main()
}
