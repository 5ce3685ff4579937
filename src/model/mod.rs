//! Models: hyperparameters as data, layers, and one forward pass for decoders and one for encoders. Speaks of matrices,
//! columns and kernels; knows no GPU library, no text and no file beyond the checkpoint.

mod angles;
pub mod cache;
pub mod config;
pub mod decoder;
pub mod encoder;
pub mod layers;
pub mod loading;
pub mod rope;
