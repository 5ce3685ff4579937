//! The crate's one error type. Variants are split by who can act on them, so that every surface (CLI, HTTP, page)
//! maps each to one exit code, status or sentence. Holds no conversion from GPU errors: `gpu` makes those itself.

use std::io;

/// What went wrong, by who can act: the network, the file's author, us, a bigger GPU, a driver, the caller, the user.
///
/// Messages are lower case without a final dot, name the object, and say what was wanted and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or fetching failed: the disk or the network.
    #[error("{what}: {source}")]
    Io {
        /// The file or address, and what was being done with it.
        what: String,
        /// The system's own words.
        source: io::Error,
    },
    /// The file is wrong: its author can act.
    #[error("{file}: {reason}")]
    Format {
        /// The file (or template, or tokenizer) that is wrong.
        file: String,
        /// What was wanted and what was found.
        reason: String,
    },
    /// Valid, but not (yet) ours: an architecture, a tensor type, an adapter.
    #[error("not supported: {what}")]
    Unsupported {
        /// What was asked for and what is there instead.
        what: String,
    },
    /// A size that this device, model or context does not have.
    #[error("{what}: {needed} needed, {available} available")]
    Limit {
        /// The thing that is too small, with its unit.
        what: String,
        /// How many were asked for.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// A driver's doing: validation, compilation, a lost device.
    #[error("GPU, {during}: {reason}")]
    Gpu {
        /// What we were doing.
        during: &'static str,
        /// The driver's words.
        reason: String,
    },
    /// The caller asked for something that makes no sense: an empty prompt, a negative temperature.
    #[error("{what}")]
    Invalid {
        /// The parameter, the range wanted and the value found.
        what: String,
    },
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A read that failed, `what` naming the file or address.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// A malformed file.
    pub fn format(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format { file: file.into(), reason: reason.into() }
    }

    /// Something valid that Trice does not do.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    /// A request that makes no sense.
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}
