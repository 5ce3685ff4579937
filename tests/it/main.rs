//! Integration tests: one binary, one file per area.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod format;
mod gpu_batch;
mod gpu_chat_tasks;
mod gpu_choices;
mod gpu_context;
mod gpu_faults;
mod gpu_golden;
mod gpu_grammar;
mod gpu_kernels;
mod gpu_loading;
mod gpu_measure;
mod gpu_models;
mod gpu_products;
mod gpu_recording;
mod gpu_rejections;
mod gpu_resumed;
mod gpu_slots;
mod gpu_speculate;
mod gpu_tasks;
mod gpu_wide;
mod gpu_windows;
mod hub;
mod layers;
mod program;
mod quantize;
mod server;
mod shaders;
mod text;
