//! Trice.
