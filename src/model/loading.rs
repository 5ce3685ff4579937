//! A model being loaded: laid out, refused where its files are wrong, its programs recorded and compiling, its weights still
//! to be read. Reading and compiling go on side by side.

use super::layers::Weights;
use crate::error::Result;
use crate::gpu::Compiler;

/// A model whose weights are to be read and whose shaders compile meanwhile. Dropping it ends both.
pub struct Loading<'a, M> {
    pub(super) model: M,
    pub(super) weights: Weights<'a>,
    pub(super) compiler: Compiler<'a>,
}

/// A model whose weights are read.
pub struct Compiling<'a, M> {
    model: M,
    compiler: Compiler<'a>,
}

impl<'a, M> Loading<'a, M> {
    /// Streams the weights to the GPU; `on_bytes` hears of the file bytes of every piece, and its error ends the loading.
    pub async fn read(self, on_bytes: &mut dyn FnMut(u64) -> Result<()>) -> Result<Compiling<'a, M>> {
        self.weights.read(on_bytes).await?;
        Ok(Compiling { model: self.model, compiler: self.compiler })
    }
}

impl<M> Compiling<'_, M> {
    /// Waits for the shaders; `on_pipeline` hears how many are compiled, of how many, and its error ends the loading.
    pub async fn finish(self, on_pipeline: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<M> {
        self.compiler.finish(on_pipeline).await?;
        Ok(self.model)
    }
}
