//! The architectures that run, as a table: what each fixes by its name. All else (sizes, biases, which norms and heads there
//! are) the file says.

use super::facts::Facts;
use crate::error::{Error, Result};
use crate::format::Checkpoint;
use crate::kernels::matmul::Activation;

/// Which of the two forward passes a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Causal: chats, continues text.
    Decoder,
    /// Bidirectional: embeds, classifies.
    Encoder,
}

/// What the norms of a model are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormType {
    /// RMSNorm (arXiv 1910.07467).
    Rms,
    /// LayerNorm (arXiv 1607.06450), with a bias or without.
    Layer,
}

/// Which layers see a window of the last positions only, where a file has a window and does not list its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    /// All.
    All,
    /// All but every n-th.
    AllBut(u32),
    /// All but the first of every n.
    AllButFirstOf(u32),
    /// Those from `max_window_layers` on, where `use_sliding_window` says so.
    Upper,
}

/// Where the feed-forward half of a layer begins from, where the file does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halves {
    /// From the stream after attention.
    Serial,
    /// From the stream before it.
    Parallel,
    /// Before it where the feed-forward half has no norm of its own.
    ByNorms,
}

/// What a decoder architecture fixes.
#[derive(Debug)]
pub(super) struct DecoderFacts {
    pub(super) norm: NormType,
    /// The feed-forward layer's function, where the file names none.
    pub(super) activation: Activation,
    pub(super) halves: Halves,
    pub(super) windows: Windows,
    /// Every n-th layer rotates nothing, where the file does not list them.
    pub(super) unrotated: Option<u32>,
    /// Gemma: norms of folders are stored less 1, embeddings are scaled by √dim, windows rotate by a base of their own.
    pub(super) is_gemma: bool,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Architecture {
    /// GGUF's name.
    pub(super) name: &'static str,
    /// `model_type` of a `config.json`.
    pub(super) model_types: &'static [&'static str],
    pub(super) role: Role,
}

/// What a model is for.
#[derive(Debug)]
pub(super) enum Role {
    Decoder(DecoderFacts),
    Encoder(EncoderFacts),
}

/// What an encoder architecture fixes.
#[derive(Debug)]
pub(super) struct EncoderFacts {
    /// The feed-forward layer's function, where the file names none.
    pub(super) activation: Activation,
    pub(super) windows: Windows,
}

const LLAMA: DecoderFacts = DecoderFacts {
    norm: NormType::Rms,
    activation: Activation::Silu,
    halves: Halves::Serial,
    windows: Windows::All,
    unrotated: None,
    is_gemma: false,
};

const GPT: DecoderFacts = DecoderFacts { norm: NormType::Layer, activation: Activation::GeluTanh, ..LLAMA };

const GEMMA: DecoderFacts = DecoderFacts { activation: Activation::GeluTanh, is_gemma: true, ..LLAMA };

const fn decoder(name: &'static str, model_types: &'static [&'static str], facts: DecoderFacts) -> Architecture {
    Architecture { name, model_types, role: Role::Decoder(facts) }
}

const BERT: EncoderFacts = EncoderFacts { activation: Activation::Gelu, windows: Windows::All };

const fn encoder(name: &'static str, model_types: &'static [&'static str], facts: EncoderFacts) -> Architecture {
    Architecture { name, model_types, role: Role::Encoder(facts) }
}

const ARCHITECTURES: &[Architecture] = &[
    decoder("llama", &["llama", "mistral"], LLAMA),
    decoder("qwen2", &["qwen2"], DecoderFacts { windows: Windows::Upper, ..LLAMA }),
    decoder("qwen3", &["qwen3"], DecoderFacts { windows: Windows::Upper, ..LLAMA }),
    decoder("gemma", &["gemma"], GEMMA),
    decoder("gemma2", &["gemma2"], DecoderFacts { windows: Windows::AllBut(2), ..GEMMA }),
    decoder("gemma3", &["gemma3_text", "gemma3"], DecoderFacts { windows: Windows::AllBut(6), ..GEMMA }),
    decoder("phi3", &["phi3"], LLAMA),
    decoder("phi2", &["phi"], DecoderFacts { halves: Halves::ByNorms, ..GPT }),
    decoder("smollm3", &["smollm3"], DecoderFacts { unrotated: Some(4), ..LLAMA }),
    decoder("olmo2", &["olmo2"], LLAMA),
    decoder("stablelm", &["stablelm"], DecoderFacts { norm: NormType::Layer, halves: Halves::ByNorms, ..LLAMA }),
    decoder("granite", &["granite"], LLAMA),
    decoder("gpt2", &["gpt2"], GPT),
    decoder("gptneox", &["gpt_neox"], DecoderFacts { activation: Activation::Gelu, halves: Halves::Parallel, ..GPT }),
    decoder("starcoder2", &["starcoder2"], GPT),
    encoder("bert", &["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "mpnet"], BERT),
    encoder("nomic-bert", &["nomic_bert"], EncoderFacts { activation: Activation::Silu, ..BERT }),
    encoder("modern-bert", &["modernbert"], EncoderFacts { windows: Windows::AllButFirstOf(3), ..BERT }),
];

impl Architecture {
    pub(super) fn find(name: &str, is_gguf: bool) -> Option<&'static Self> {
        let is_it = |row: &&Self| if is_gguf { row.name == name } else { row.model_types.contains(&name) };
        ARCHITECTURES.iter().find(is_it)
    }
}

/// The architectures that run, by GGUF's names.
pub fn supported() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|row| row.name)
}

/// Whether `checkpoint` is a decoder or an encoder.
///
/// # Errors
/// `Unsupported` for an architecture Trice does not run, naming it and those it does.
pub fn kind(checkpoint: &Checkpoint) -> Result<Kind> {
    Ok(Facts::new(checkpoint)?.kind())
}

/// What is said of an architecture that is none of the table's.
pub(super) fn unknown(name: &str, file: &str) -> Error {
    let known: Vec<_> = supported().collect();
    Error::unsupported(format!("architecture {name} of {file}: those that run are {}", known.join(", ")))
}
