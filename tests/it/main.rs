//! Integration tests: one binary, one file per area.

#[path = "../common/mod.rs"]
mod common;
mod format;
mod text;
