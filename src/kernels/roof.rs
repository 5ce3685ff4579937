//! What the device can do at best: `read.wgsl`.

use super::{WORKGROUP, groups_for};
use crate::gpu::shader::{Access, Kernel, Variant, params};
use crate::gpu::{Buffer, Recording};

/// Reads a buffer once.
pub static READ: Kernel = Kernel {
    name: "read",
    source: include_str!("../../shaders/read.wgsl"),
    params: ReadParams::LAYOUT,
    bindings: &[Access::Read, Access::ReadWrite],
};

/// Threads that share the reading: enough to fill any GPU.
pub const READ_THREADS: u32 = 1 << 18;

params! {
    /// Params of `read.wgsl`.
    ReadParams {
        n: u32,
        n_threads: u32,
        pad0: u32,
        pad1: u32,
    }
}

fn variant() -> Variant {
    Variant::new().size("WG", WORKGROUP)
}

/// Reads all of `x`; `y` takes `READ_THREADS` words.
pub fn read(rec: &mut Recording, x: &Buffer, y: &Buffer) {
    let params = ReadParams { n: (x.n_bytes() / 16) as u32, n_threads: READ_THREADS, pad0: 0, pad1: 0 };
    rec.dispatch(&READ, variant(), params, &[x, y], groups_for(READ_THREADS));
}

/// Every variant these functions record.
pub(super) fn variants() -> Vec<(&'static Kernel, Variant)> {
    vec![(&READ, variant())]
}
