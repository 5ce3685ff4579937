//! Trice runs quantized transformers on any GPU from one crate and one set of WGSL shaders: in a web page (WASM and
//! WebGPU) and natively (Vulkan, Metal, DX12).

pub mod error;
pub mod format;
pub mod gpu;
pub mod hub;
pub mod kernels;
pub mod measure;
pub mod model;
pub mod session;
pub mod source;
pub mod tasks;
pub mod text;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
