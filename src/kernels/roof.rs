//! What the device can do at best: `read.wgsl` for its memory, `arith.wgsl` for its arithmetic, and the latter with nothing
//! to compute for the price of a dispatch.

use super::{WORKGROUP, cost, groups_for};
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::wgsl::wgsl;
use crate::gpu::{Buffer, Recording};

/// Reads a buffer once.
pub static READ: Kernel = Kernel {
    name: "read",
    source: wgsl!("read"),
    params: ReadParams::LAYOUT,
    bindings: &[Access::Read, Access::ReadWrite],
};

/// Computes and does nothing else.
pub static ARITH: Kernel =
    Kernel { name: "arith", source: wgsl!("arith"), params: ArithParams::LAYOUT, bindings: &[Access::ReadWrite] };

/// Threads that share the reading: enough to fill any GPU.
pub const READ_THREADS: u32 = 1 << 18;

/// Threads that compute: enough to fill any GPU.
pub const ARITH_THREADS: u32 = 1 << 16;

/// Steps that the loop of `arith` takes at a time.
pub const STEPS: u32 = 4;

/// Values that a thread of `arith` steps.
const CHAINS: u32 = 8;

/// What the factor of `arith` begins from: a quarter, so that floats neither grow nor vanish.
const FACTOR: u32 = 64;

params! {
    /// Params of `read.wgsl`.
    ReadParams {
        n: u32,
        n_threads: u32,
        pad0: u32,
        pad1: u32,
    }
}

params! {
    /// Params of `arith.wgsl`.
    ArithParams {
        n_steps: u32,
        w: u32,
        pad0: u32,
        pad1: u32,
    }
}

/// What is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats: only where shaders have them.
    F16,
    /// 8-bit integers, four to a word.
    Dot8,
}

impl Element {
    fn slot(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Dot8 => "dot8",
        }
    }
}

fn read_variant() -> Variant {
    Variant::new().size("WG", WORKGROUP)
}

fn arith_variant(element: Element) -> Variant {
    let variant = Variant::new().slot("arith", element.slot()).size("WG", WORKGROUP);
    if element == Element::F16 { variant.in_f16() } else { variant }
}

/// Reads all of `x`; `y` takes `READ_THREADS` words.
pub fn read(rec: &mut Recording, x: &Buffer, y: &Buffer) {
    let params = ReadParams { n: (x.n_bytes() / 16) as u32, n_threads: READ_THREADS, pad0: 0, pad1: 0 };
    rec.dispatch(&READ, read_variant(), params, &[x, y], groups_for(READ_THREADS), cost::read(x.n_bytes()));
}

/// `n_threads` threads take `n_steps` (a multiple of `STEPS`) with each of their values; `y` takes as many words as threads.
pub fn arith(rec: &mut Recording, element: Element, n_steps: u32, n_threads: u32, y: &Buffer) {
    assert!(n_steps.is_multiple_of(STEPS), "steps of arithmetic");
    let params = ArithParams { n_steps, w: FACTOR, pad0: 0, pad1: 0 };
    let work = cost::arith(element, u64::from(n_threads) * u64::from(CHAINS) * u64::from(n_steps));
    rec.dispatch(&ARITH, arith_variant(element), params, &[y], groups_for(n_threads), work);
}

/// Every variant these functions record on a device of `caps`.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let mut all: Vec<(&'static Kernel, Variant)> = vec![(&READ, read_variant())];
    for element in [Element::F32, Element::F16, Element::Dot8] {
        if element != Element::F16 || caps.f16 {
            all.push((&ARITH, arith_variant(element)));
        }
    }
    all
}
