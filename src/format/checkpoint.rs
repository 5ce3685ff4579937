//! A model's files behind one face: tensors by GGUF name, metadata, and the side files.

/// An opened model.
pub struct Checkpoint {}
