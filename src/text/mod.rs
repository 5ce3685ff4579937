//! Text in and out: tokenizers, chat templates, sampling parameters, grammars, the parts of answers.

pub mod chat;
mod date;
mod framing;
mod gguf_keys;
mod gguf_vocab;
pub mod grammar;
mod jinja;
mod marks;
pub mod messages;
mod pieces;
mod pre_tokenizers;
mod precheck;
mod python;
pub mod reply;
pub mod sampling;
pub mod stream;
pub mod tokenizer;
pub mod tools;

pub use chat::{ChatOptions, ChatTemplate, Message, PromptEnd};
pub use framing::Framed;
pub use gguf_keys::gguf_keys;
pub use grammar::Grammar;
pub use messages::{WrongField, read_messages, split_begun};
pub use reply::{Call, ReplyOptions, ReplyParser, ReplyPart};
pub use sampling::SamplingParams;
pub use stream::{Emit, StopFinder, TextStream};
pub use tokenizer::{SideFiles, Span, Tokenizer};
pub use tools::{Tool, Tools};
