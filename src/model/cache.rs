//! The KV cache: keys and values of every layer, reserved once for the whole context of every slot. Which positions hold what is the
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
    /// Zeroed room for `heads.context_len` positions of `n_slots` sequences in each of `n_layers` layers.
    ///
    /// # Errors
    /// `Limit` when one layer's keys do not fit a binding: a smaller context or fewer sequences will.
    pub fn new(gpu: &Gpu, heads: &Heads, n_layers: u32, n_slots: usize) -> Result<Self> {
        let n_bytes = layer_bytes(heads) * n_slots as u64;
        let label = |what: &str| {
            let fewer = if n_slots > 1 { " or fewer sequences at once need" } else { " needs" };
            format!("the {what} of one layer; a smaller context{fewer} less")
        };
        let layer = || -> Result<KvBuffers> {
            Ok(KvBuffers { k: gpu.buffer(&label("keys"), n_bytes)?, v: gpu.buffer(&label("values"), n_bytes)? })
        };
        Ok(Self { layers: (0..n_layers).map(|_| layer()).collect::<Result<_>>()? })
    }

    /// The buffers of layer `i`.
    pub fn layer(&self, i: usize) -> &KvBuffers {
        &self.layers[i]
    }
}

/// Bytes of one layer's keys of one sequence, as many as of its values.
pub fn layer_bytes(heads: &Heads) -> u64 {
    u64::from(heads.n_kv_heads) * u64::from(heads.context_len) * heads.kv_type.row_bytes(heads.head_dim)
}
