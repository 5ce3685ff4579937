//! The flags of `trice serve`.

use super::{LoadArgs, OverflowArg, SpeculateArgs};
use clap::Args;
use std::num::NonZero;
use std::path::PathBuf;

const SERVE_EXAMPLES: &str = "\
Examples:
  trice serve                                     the page, with the built-in models behind the API
  trice serve model.gguf ./all-MiniLM-L6-v2 --port 9000
  trice serve model.gguf --host 0.0.0.0 --api-key \"$KEY\"
  trice serve model.gguf --parallel 4 --ctx 8192   four answers at once, each with room for 8192 tokens
  trice serve model.gguf --speculate lookup        one at a time, faster where it repeats its text
  curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
       -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"stream\": true}'";

#[derive(Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Models to serve; left out, builtin:stories, builtin:sentiment and builtin:embed
    pub(crate) models: Vec<String>,
    /// Address to listen on; anything but loopback needs --api-key
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port; 0 takes any free one; left out, 8080 or the next free one
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Key that clients send as `Authorization: Bearer KEY`
    #[arg(long, env = "TRICE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// Further host names by which clients may call this server; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Further pages that may ask, by their origins (http://localhost:5173); may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// Folder of the page
    #[arg(long, value_name = "DIR", default_value = "dist/site")]
    pub(crate) site: PathBuf,
    /// Open the page in the browser
    #[arg(long)]
    pub(crate) open: bool,
    /// Answers written at once, up to 8; each has --ctx tokens of its own, reserved at the start
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) parallel: u8,
    /// Models that may be loaded at once; for another, the one that nobody has asked for the longest makes room
    #[arg(long, value_name = "N")]
    pub(crate) max_models: Option<NonZero<usize>>,
    /// What happens where a text is longer than the context and the request does not say (field "overflow")
    #[arg(long, value_enum, default_value_t = OverflowArg::Error)]
    pub(crate) overflow: OverflowArg,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) speculate: SpeculateArgs,
}
