//! File blocks to f32 and back.
