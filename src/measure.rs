//! How fast a model runs, where the time goes, how fast the device could be, and what weights count: what `trice bench`, `profile` and
//! `devices` and the page's benchmark print, and `quantize` weighs by.

mod batch;
pub mod bench;
pub mod calibrate;
pub mod check;
mod plan;
pub mod profile;
pub mod roofs;

pub use bench::{BenchOptions, BenchReport, BenchTest, Spread, bench_decoder, bench_encoder};
pub use calibrate::{Importance, calibrate};
pub use check::{Checked, check};
pub use profile::{ProfileOptions, ProfileReport, profile_decoder, profile_encoder};
pub use roofs::{Roofs, read_bandwidth};

/// Ids that no model expects, the same every time.
fn ids(n: usize, vocab_size: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 7919 + 13) % vocab_size) as u32).collect()
}
