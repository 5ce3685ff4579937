//! Trice runs quantized transformers on any GPU from one crate and one set of WGSL shaders: in a web page (WASM and
//! WebGPU) and natively (Vulkan, Metal, DX12). Chat models come from GGUF files or Hugging Face folders; encoders of the
//! BERT family classify and embed.
//!
//! ```no_run
//! # fn main() -> trice::Result<()> {
//! use std::ops::ControlFlow;
//! use std::rc::Rc;
//! use trice::hub::{self, HubOptions, ModelName};
//! use trice::{Checkpoint, GenerateOptions, Gpu, LoadOptions, Session};
//!
//! pollster::block_on(async {
//!     let gpu = Rc::new(Gpu::open(None).await?);
//!     let name = ModelName::parse("builtin:stories")?;
//!     let files = hub::open(&name, &HubOptions::default(), &mut |_| {}).await?;
//!     let checkpoint = Checkpoint::open(files).await?;
//!     let mut session = Session::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {}).await?;
//!     let prompt = session.raw_prompt("Once upon a time")?;
//!     let options = GenerateOptions { max_tokens: Some(60), ..GenerateOptions::default() };
//!     session.generate(&prompt, &options, &mut |piece| {
//!         print!("{}", piece.text);
//!         ControlFlow::Continue(())
//!     })
//!     .await?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! To read the code, follow the data: [`hub`] turns a name into [`source`]s, [`format`] reads their headers into a
//! [`Checkpoint`], [`gpu`] holds buffers and recorded programs, [`kernels`] declare and record the shaders, [`model`] is the
//! two forward passes, [`text`] tokenizes and renders templates, [`session`] generates, [`tasks`] classify and embed,
//! [`measure`] times, [`export`] writes models. `docs/ARCHITECTURE.md` says what must never be.

pub mod error;
pub mod export;
pub mod format;
pub mod gpu;
pub mod hub;
pub mod kernels;
pub mod measure;
pub mod model;
pub mod rows;
pub mod session;
pub mod source;
pub mod tasks;
pub mod text;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
pub use format::Checkpoint;
pub use gpu::Gpu;
pub use session::{GenerateOptions, LoadOptions, Session};
pub use tasks::{ClassifyOptions, TextEncoder};
