//! The arguments of `trice quantize`.

use clap::Args;
use std::path::PathBuf;
use trice::format::DType;
use trice::format::mix::Mix;

const QUANTIZE_EXAMPLES: &str = "\
Examples:
  trice quantize ./SmolLM2-135M-Instruct smol-q4.gguf --type Q4_K_M
  trice quantize model-f16.gguf model-q8.gguf --type Q8_0
  trice quantize ./all-MiniLM-L6-v2 minilm.gguf --type Q8_0
  trice quantize model-f16.gguf model-q3.gguf --type Q3_K_M --calibration texts.txt

Types: F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0, Q3_K_L, Q3_K_M, Q3_K_S, Q2_K.
The mixes (_S, _M, _L) give the matrices that matter most more bits. Norms, biases and tables of positions stay F32.";

#[derive(Args)]
#[command(after_help = QUANTIZE_EXAMPLES)]
pub(crate) struct QuantizeArgs {
    /// A GGUF file or a Hugging Face folder, by any name that MODEL may have
    #[arg(value_name = "IN")]
    pub(crate) model: String,
    /// The file to write, a .gguf; one that exists is replaced
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// What matrices become
    #[arg(long = "type", value_name = "TYPE", value_parser = Mix::from_name)]
    pub(crate) mix: Mix,
    /// Another type for the embedding and the head; left out, Q6_K, or TYPE where it has more bits
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    pub(crate) embeddings: Option<DType>,
    /// A text such as the model will read: what it makes of it says which weights matter (runs IN on the GPU; decoders only)
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
}

fn dtype(name: &str) -> Result<DType, String> {
    let names = || DType::all().map(DType::name).collect::<Vec<_>>().join(", ");
    DType::from_name(name).ok_or_else(|| format!("one of {} wanted", names()))
}
