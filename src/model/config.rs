//! Hyperparameters and architecture facts as data, from a GGUF's metadata or a `config.json`, each range-checked before use.

mod architecture;
mod decoder;
mod encoder;
mod facts;
mod rotation;
mod windows;

pub use architecture::{Kind, NormType, kind, supported};
pub use decoder::{DecoderConfig, LayerConfig};
pub use encoder::{EncoderConfig, EncoderLayer, HeadConfig, HeadOf, Scores};
pub use rotation::Rotation;

/// What both kinds have.
#[derive(Clone, Debug)]
pub struct Shape {
    /// GGUF's name: `llama`, `qwen2`, `bert`.
    pub architecture: String,
    /// Layers.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Values per head.
    pub head_dim: u32,
    /// Width of the feed-forward layer.
    pub ffn_dim: u32,
    /// Rows of the embedding.
    pub vocab_size: u32,
    /// Tokens of context the model was made for.
    pub context_len: u32,
    /// Epsilon of the norms.
    pub norm_eps: f32,
}

impl Shape {
    /// Values of q of a column.
    pub fn q_dim(&self) -> u32 {
        self.n_heads * self.head_dim
    }

    /// Values of q, k and v of a column.
    pub fn qkv_dim(&self) -> u32 {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }
}
