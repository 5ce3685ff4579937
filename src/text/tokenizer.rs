//! Text to token ids and back.

/// A model's tokenizer.
pub struct Tokenizer {}
/// Streaming decoder: ids in, whole UTF-8 text out.
pub struct TextStream {}
