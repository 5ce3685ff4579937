//! What several areas' tests share.

#![allow(dead_code, unreachable_pub, reason = "no area uses every helper")]

pub mod gguf_writer;
pub mod llama2c;
