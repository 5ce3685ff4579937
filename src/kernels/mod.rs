//! One Rust function per WGSL file: it declares the kernel (bindings, params) and records a run of it. Knows buffers and
//! shapes, no model. Order of reading: matmul, attention, elementwise, sample.

pub mod attention;
pub mod cost;
pub mod elementwise;
pub mod matmul;
pub mod roof;
pub mod sample;
pub mod tune;

use crate::gpu::shader::{Caps, Kernel, Variant};
use crate::gpu::{Buffer, Recording};

/// Threads of a workgroup, for kernels whose workgroups share nothing or little.
const WORKGROUP: u32 = 64;

/// What every kernel of a forward pass is recorded with.
pub struct Pass<'a> {
    /// The list being recorded.
    pub rec: &'a mut Recording,
    /// Which columns and positions a run is about: `(position, n_tokens)` as a uniform.
    pub state: &'a Buffer,
    /// All norm weights and biases of the model.
    pub vectors: &'a Buffer,
}

/// Where a vector of the model's shared buffer begins, in vec4s.
pub type VectorOffset = u32;

/// Workgroups of `WORKGROUP` threads for one thread per item.
fn groups_for(items: u32) -> u32 {
    items.div_ceil(WORKGROUP)
}

/// Every kernel with every variant it is ever recorded with on a device of `caps`: for the contract test.
pub fn all(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut variants = matmul::variants(caps);
    variants.extend(attention::variants(caps));
    variants.extend(elementwise::variants(caps));
    variants.extend(sample::variants(caps));
    variants.extend(roof::variants(caps));
    variants
}
