//! Text in and out: tokenizers, chat templates, sampling parameters.

pub mod chat;
pub mod sampling;
pub mod tokenizer;

pub use chat::{ChatTemplate, Message};
pub use sampling::SamplingParams;
pub use tokenizer::{TextStream, Tokenizer};
