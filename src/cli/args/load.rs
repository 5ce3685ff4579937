//! Arguments that say which model is loaded, and how.

use clap::{Args, ValueEnum};
use trice::format::mix::Mix;

/// What becomes of a model's weights.
#[derive(Args, Clone, Default)]
pub(crate) struct WeightArgs {
    /// Round float weights to this type, such as Q8_0 or Q4_K_M, while loading
    #[arg(long, value_name = "TYPE", value_parser = Mix::from_name)]
    pub(crate) load_as: Option<Mix>,
    /// Lay a LoRA adapter on the model, a PEFT folder or a GGUF, at this strength (1 unless given); may be repeated
    #[arg(long, value_name = "ADAPTER[=STRENGTH]", value_parser = Lora::parse)]
    pub(crate) lora: Vec<Lora>,
}

/// An adapter by name, and how strong it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lora {
    pub(crate) name: String,
    pub(crate) strength: f32,
}

impl Lora {
    fn parse(text: &str) -> Result<Self, String> {
        let whole = |name: &str, strength| Self { name: name.to_owned(), strength };
        match text.rsplit_once('=') {
            None => Ok(whole(text, 1.0)),
            Some((name, strength)) => match strength.parse::<f32>() {
                Ok(strength) if strength.is_finite() => Ok(whole(name, strength)),
                // A name may hold the sign itself, as addresses do.
                _ if name.contains("://") => Ok(whole(text, 1.0)),
                _ => Err(format!("a finite number wanted after =, not {strength:?}")),
            },
        }
    }
}

/// How a decoder is loaded.
#[derive(Args, Clone)]
pub(crate) struct LoadArgs {
    /// Tokens of context; left out, the model's own but at most 4096
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=2_097_152))]
    pub(crate) ctx: Option<u32>,
    /// Element type of the KV cache
    #[arg(long, value_enum, default_value_t = KvTypeArg::F16)]
    pub(crate) kv_type: KvTypeArg,
    #[command(flatten)]
    pub(crate) weights: WeightArgs,
    /// Answers at once, which commands ask for by flags of their own.
    #[arg(skip = 1usize)]
    pub(crate) parallel: usize,
}

/// Whether tokens are guessed ahead.
#[derive(Args, Clone, Default)]
pub(crate) struct SpeculateArgs {
    /// Guess several tokens ahead and check them at once: lookup guesses what followed when the last words stood in the text
    /// before, which makes answers that repeat their prompt faster. What is answered stays the same
    #[arg(long, value_enum, default_value_t = SpeculateArg::Off)]
    pub(crate) speculate: SpeculateArg,
    /// Let this smaller model guess ahead, which must have the same vocabulary; for large models on fast GPUs
    #[arg(long, value_name = "MODEL", conflicts_with = "speculate")]
    pub(crate) draft: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpeculateArg {
    #[default]
    Off,
    Lookup,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KvTypeArg {
    F32,
    F16,
    #[value(name = "q8_0")]
    Q8,
}
