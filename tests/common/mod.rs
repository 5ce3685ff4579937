//! What several areas' tests share.

#![allow(dead_code, unreachable_pub, reason = "no area uses every helper")]

pub mod gguf_writer;
pub mod gpu;
pub mod hashed;
pub mod kernels;
pub mod llama2c;
pub mod reference;
pub mod toy;

use std::path::PathBuf;

/// The folder of models and tokenizers that lies beside the checkout, or where `TRICE_SHARED` says; none, and a line
/// that says so, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
    let root = std::env::var_os("TRICE_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}
