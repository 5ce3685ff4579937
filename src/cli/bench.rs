//! `trice bench`: tokens per second.

use super::args::BenchArgs;
use super::context::Context;

pub(crate) fn run(_context: &Context, _args: &BenchArgs) -> anyhow::Result<()> {
    Err(trice::Error::unsupported("bench (under construction)").into())
}
