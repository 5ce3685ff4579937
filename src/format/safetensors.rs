//! Safetensors headers and Hugging Face names.
