//! GGUF v2/v3 reader, little-endian: the header alone, by ranged reads, checked once. Whoever holds a `Header` may
//! trust it. Every count is bounded by a limit and by the bytes left in the file before anything is allocated for it.
//! Holds no tensor data. `write` is the way back.

mod parse;
mod split;
mod tensors;
mod write;

use super::{Metadata, TensorInfo};
use crate::error::{Error, Result};
use crate::source::Source;
use parse::{Parser, Stop};

pub(crate) use split::merge_splits;
pub use write::Writer;

/// The first four bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Metadata entries a header may hold.
pub const MAX_KEYS: u64 = 65_536;
/// Tensors a header may describe.
pub const MAX_TENSORS: u64 = 65_536;
/// Bytes from the magic to the end of the tensor descriptions.
pub const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Bytes of a key.
pub const MAX_KEY_BYTES: u64 = 65_535;
/// Bytes of a text.
pub const MAX_STRING_BYTES: u64 = 16 << 20;
/// Elements of all arrays of a header together: numbers are widened, so that a small file could ask for much memory.
pub const MAX_ARRAY_LEN: u64 = 1 << 24;
/// Bytes of a tensor's name.
pub const MAX_NAME_BYTES: u64 = 63;
/// Dimensions of a tensor.
pub const MAX_DIMS: u32 = 4;
/// Where tensor data starts and each tensor's offset are multiples of a power of two in this range.
pub const ALIGNMENTS: std::ops::RangeInclusive<u32> = 8..=1 << 20;

/// Whether files of an architecture hold q and k with the values of a head that rotate together side by side: llama.cpp's converter
/// permutes those of `llama` and what it derives from it, others keep Hugging Face's order.
pub fn permutes_heads(architecture: &str) -> bool {
    matches!(architecture, "llama" | "granite" | "smollm3")
}

const DEFAULT_ALIGNMENT: u32 = 32;
/// First read of a header; grows fourfold until the header is whole.
const FIRST_WINDOW: u64 = 1 << 20;

/// What a GGUF file says about itself.
#[derive(Debug)]
pub struct Header {
    /// Every key with its value.
    pub metadata: Metadata,
    /// Every tensor, in the order of the file; offsets count from the start of the file.
    pub tensors: Vec<TensorInfo>,
}

/// Reads and checks the header of `source`, which becomes `TensorInfo::file` number `file`.
pub async fn read_header(source: &dyn Source, file: usize) -> Result<Header> {
    let file_len = source.len();
    let mut window = Vec::new();
    let mut wanted = FIRST_WINDOW.min(file_len);
    loop {
        let more = (wanted - window.len() as u64) as usize;
        window.extend(source.read(window.len() as u64, more).await?);
        match Parser::new(&window, file_len, file).header() {
            Ok(header) => return Ok(header),
            Err(Stop::Bad(reason)) => return Err(Error::format(source.name(), reason)),
            Err(Stop::Unsupported(what)) => return Err(Error::unsupported(format!("{}: {what}", source.name()))),
            Err(Stop::NeedMore(end)) => {
                // The parser asks for nothing past the end of the file or the limit, so this grows and ends.
                wanted = end.max(window.len() as u64 * 4).min(file_len).min(MAX_HEADER_BYTES);
            }
        }
    }
}
