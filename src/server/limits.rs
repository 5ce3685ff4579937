//! How much a client may ask for. Each number is where a request stops being plausible, not where it stops working.

use std::ops::{Bound, RangeInclusive};
use std::time::Duration;

/// Bytes of a request's body.
pub(crate) const MAX_BODY_BYTES: usize = 4 << 20;
/// Bytes of a request's line and headers.
pub(crate) const MAX_HEADER_BYTES: usize = 16 << 10;
/// In which the headers must be there.
pub(crate) const HEADER_TIME: Duration = Duration::from_secs(10);
/// In which the body must be there.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);
/// That a body which is refused for its size may go on arriving.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(5);
/// In which a client must take the next event of a stream.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(30);
/// From a request's arrival to its last token.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(600);
/// Between signs of life on a silent stream.
pub(crate) const PING_TIME: Duration = Duration::from_secs(15);
/// That running requests get to finish after SIGINT or SIGTERM.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(30);
/// Open connections; further ones wait in the system's own queue.
pub(crate) const MAX_CONNECTIONS: usize = 1024;
/// Requests that wait for the GPU; further ones get 503.
pub(crate) const MAX_QUEUE: usize = 512;
/// Seconds after which a refused client may try again.
pub(crate) const RETRY_AFTER_S: u32 = 5;

/// Texts in one embeddings or classify request.
pub(crate) const MAX_INPUTS: usize = 2048;
/// Own labels in one classify request.
pub(crate) const MAX_LABELS: usize = 1024;
/// Stop strings, and bytes of each.
pub(crate) const MAX_STOPS: usize = 16;
pub(crate) const MAX_STOP_BYTES: usize = 256;
/// Most probable tokens reported per step.
pub(crate) const TOP_LOGPROBS: RangeInclusive<i64> = 0..=20;
/// Tokens asked for; more than the context holds is cut to it.
pub(crate) const MAX_TOKENS: RangeInclusive<i64> = 1..=i32::MAX as i64;
/// Answers per request.
pub(crate) const N: RangeInclusive<i64> = 1..=1;

/// A range of numbers, either end open or closed.
pub(crate) type NumberRange = (Bound<f64>, Bound<f64>);

pub(crate) const TEMPERATURE: NumberRange = (Bound::Included(0.0), Bound::Included(2.0));
pub(crate) const TOP_P: NumberRange = (Bound::Excluded(0.0), Bound::Included(1.0));
pub(crate) const MIN_P: NumberRange = (Bound::Included(0.0), Bound::Excluded(1.0));
pub(crate) const TOP_K: RangeInclusive<i64> = 0..=1 << 20;
pub(crate) const REPEAT_PENALTY: NumberRange = (Bound::Excluded(0.0), Bound::Included(10.0));
/// OpenAI's presence and frequency penalties, which are accepted at 0 only.
pub(crate) const PENALTY: NumberRange = (Bound::Included(-2.0), Bound::Included(2.0));
