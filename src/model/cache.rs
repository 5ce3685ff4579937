//! The KV cache: keys and values of every layer, reserved once for every slot: for the whole context, or for the positions that a
//! window sees. Which positions hold what is the session's business: rolling back is writing a smaller position.

use super::config::{DecoderConfig, LayerConfig};
use crate::error::Result;
use crate::gpu::{Choices, Gpu};
use crate::kernels::attention::{Heads, KvBuffers, KvType, NO_WINDOW};
use std::cell::Cell;

/// Positions that a ring holds beyond the window and a step: so far may a sequence be taken back.
const SLACK: u32 = 256;

/// Keys and values of all layers.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<Layer>,
    /// One past the last position that was ever written since a sequence began, by slot: what rings have lost.
    reach: Vec<Cell<usize>>,
}

/// Keys and values of one layer.
#[derive(Debug)]
struct Layer {
    /// With the positions that its cache has.
    heads: Heads,
    buffers: KvBuffers,
    window: u32,
}

/// Positions that a layer's cache has: all, or a ring of those that `step` columns at once may see.
fn positions(layer: &LayerConfig, context_len: u32, step: u32) -> u32 {
    if layer.window == NO_WINDOW {
        return context_len;
    }
    layer.window.saturating_add(step + SLACK).min(context_len)
}

impl KvCache {
    /// Zeroed room for `heads.context_len` positions of `n_slots` sequences in each of `layers`, run at most `step` columns at
    /// once.
    ///
    /// # Errors
    /// `Limit` when one layer's keys do not fit a binding: a smaller context or fewer sequences will.
    pub fn new(gpu: &Gpu, heads: &Heads, layers: &[LayerConfig], n_slots: usize, step: u32) -> Result<Self> {
        let label = |what: &str| {
            let fewer = if n_slots > 1 { " or fewer sequences at once need" } else { " needs" };
            format!("the {what} of one layer; a smaller context{fewer} less")
        };
        let layer = |config: &LayerConfig| -> Result<Layer> {
            let heads = Heads { context_len: positions(config, heads.context_len, step), ..*heads };
            let n_bytes = layer_bytes(&heads) * n_slots as u64;
            let buffers =
                KvBuffers { k: gpu.buffer(&label("keys"), n_bytes)?, v: gpu.buffer(&label("values"), n_bytes)? };
            Ok(Layer { heads, buffers, window: config.window })
        };
        let layers = layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(Self { layers, reach: vec![Cell::new(0); n_slots] })
    }

    /// Bytes of all of it.
    pub fn n_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.buffers.k.n_bytes() + layer.buffers.v.n_bytes()).sum()
    }

    /// Shape and buffers of layer `i`.
    pub fn layer(&self, i: usize) -> (&Heads, &KvBuffers) {
        (&self.layers[i].heads, &self.layers[i].buffers)
    }

    /// Hears that positions up to `end` of a slot are written, from `first` on.
    pub(crate) fn wrote(&self, slot: usize, first: usize, end: usize) {
        let reach = &self.reach[slot];
        reach.set(if first == 0 { end } else { reach.get().max(end) });
    }

    /// Hears that slot `to` holds what `from` holds.
    pub(crate) fn copied(&self, from: usize, to: usize) {
        self.reach[to].set(self.reach[from].get());
    }

    /// Whether a slot still holds all that a token at `position` sees, and so may go on from there.
    pub(crate) fn resumes(&self, slot: usize, position: usize) -> bool {
        let reach = self.reach[slot].get();
        self.layers.iter().all(|layer| {
            let (held, seen) = (layer.heads.context_len as usize, layer.window as usize);
            reach <= held || position.saturating_sub(seen) + held >= reach
        })
    }
}

/// Bytes of keys and values of one sequence of `config`'s model, in a context of `context_len`.
pub fn planned_bytes(config: &DecoderConfig, context_len: u32, kv_type: KvType) -> u64 {
    let row = 2 * u64::from(config.shape.n_kv_heads) * kv_type.row_bytes(config.shape.head_dim);
    let step = Choices::default().chunk;
    config.layers.iter().map(|layer| u64::from(positions(layer, context_len, step)) * row).sum()
}

/// Bytes of one layer's keys of one sequence, as many as of its values.
fn layer_bytes(heads: &Heads) -> u64 {
    u64::from(heads.n_kv_heads) * u64::from(heads.context_len) * heads.kv_type.row_bytes(heads.head_dim)
}
