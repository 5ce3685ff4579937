//! Text tasks, each a file. Over an encoder: vectors, labels of texts, own labels, named entities, answers out of a context, order by a
//! query, hidden words; what they compute and print is what transformers' pipelines do, and `docs/TASKS.md` holds them to it. Over a
//! decoder: choices by likelihood, and what a chat model is told to do.

pub mod chat;
pub mod choices;

mod answer;
mod classify;
mod embed;
mod encoder;
mod entities;
mod explain;
mod fill;
mod head;
mod offsets;
mod rank;
mod reading;
mod scores;
mod tag;
mod zero_shot;

pub use crate::kernels::elementwise::{Pooling, Scaling};
pub use answer::{Answer, AnswerOptions, Answered};
pub use classify::{Classified, ClassifyOptions, LabelScore};
pub use embed::{EmbedOptions, Embedded};
pub use encoder::TextEncoder;
pub use entities::Aggregation;
pub use explain::{Explain, Explanation, WordScore};
pub use fill::{FillOptions, Filled, Filling};
pub use head::LearntHead;
pub use offsets::Unit;
pub use rank::Ranked;
pub use reading::{Long, MAX_UNKNOWN_SHARE, Reading};
pub use tag::{Entity, TagOptions, Tagged};
