//! The KV cache: keys and values of every layer, reserved once for the whole context. Which positions hold what is the
//! session's business: rolling back is writing a smaller position.

use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::attention::{Heads, KvBuffers};

/// Keys and values of all layers.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<KvBuffers>,
}

impl KvCache {
    /// Zeroed room for `heads.context_len` positions in each of `n_layers` layers.
    ///
    /// # Errors
    /// `Limit` when one layer's keys do not fit a binding: a smaller context will.
    pub fn new(gpu: &Gpu, heads: &Heads, n_layers: u32) -> Result<Self> {
        let n_bytes = layer_bytes(heads);
        let layer = || -> Result<KvBuffers> {
            Ok(KvBuffers {
                k: gpu.buffer("the keys of one layer; a smaller context needs less", n_bytes)?,
                v: gpu.buffer("the values of one layer; a smaller context needs less", n_bytes)?,
            })
        };
        Ok(Self { layers: (0..n_layers).map(|_| layer()).collect::<Result<_>>()? })
    }

    /// The buffers of layer `i`.
    pub fn layer(&self, i: usize) -> &KvBuffers {
        &self.layers[i]
    }
}

/// Bytes of one layer's keys, as many as of its values.
pub fn layer_bytes(heads: &Heads) -> u64 {
    u64::from(heads.n_kv_heads) * u64::from(heads.context_len) * u64::from(heads.head_dim) * heads.kv_type.n_bytes()
}
