//! File blocks to GPU planes.
