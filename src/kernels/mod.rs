//! One Rust function per WGSL file: it declares the kernel (bindings, params) and records a run of it. Knows buffers and
//! shapes, no model. Order of reading: matmul, attention, elementwise, sample, speculate.

pub mod attention;
pub mod cost;
pub mod elementwise;
pub mod matmul;
pub(crate) mod probe;
pub mod roof;
pub mod sample;
pub mod speculate;
pub mod tune;

use crate::gpu::shader::{Caps, Kernel, Variant, params};
use crate::gpu::{Buffer, Gpu, Recording};

/// Threads of a workgroup, for kernels whose workgroups share nothing or little.
const WORKGROUP: u32 = 64;

/// Items of a workgroup whose teams take one each, `most` at most.
fn items_for_teams(caps: &Caps, most: u32) -> u32 {
    let lanes = if caps.subgroups { caps.min_lanes.clamp(1, WORKGROUP) } else { WORKGROUP };
    (WORKGROUP / lanes).min(most)
}

/// What every kernel of a forward pass is recorded with.
pub struct Pass<'a> {
    /// The list being recorded.
    pub rec: &'a mut Recording,
    /// Which tokens a run is about: what `write_state` writes.
    pub state: &'a Buffer,
    /// How its columns stand to each other.
    pub columns: ColumnsAre,
    /// All norm weights and biases of the model.
    pub vectors: &'a Buffer,
}

/// How the columns of a step stand to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnsAre {
    /// Neighbours in the sequence of one slot: a prompt, one token, or the texts of an encoder.
    #[default]
    Sequence,
    /// Each a token of a slot of its own.
    Slots,
}

impl ColumnsAre {
    /// The file of the `columns` slot.
    fn slot(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Slots => "slots",
        }
    }
}

/// Sequences that one step may advance at most.
pub const MAX_SLOTS: usize = 8;

params! {
    /// `State` of `common/state.wgsl`.
    GpuState {
        position: u32,
        n_tokens: u32,
        slot: u32,
        n_found: u32,
        n_drafted: u32,
        n_accepted: u32,
        pad0: u32,
        pad1: u32,
        positions: [u32; MAX_SLOTS],
        slots: [u32; MAX_SLOTS],
        chosen: [u32; MAX_SLOTS],
    }
}

/// Layout of `State` in `common/state.wgsl`, for the contract test.
pub const STATE_LAYOUT: crate::gpu::shader::ParamsLayout = GpuState::LAYOUT;

/// Bytes of the state.
pub const STATE_BYTES: u64 = size_of::<GpuState>() as u64;

/// Where a token stands: which sequence, and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slot of the cache and the history that holds the sequence.
    pub slot: usize,
    /// Position in it.
    pub position: usize,
}

impl Place {
    /// The beginning of the first slot.
    pub const START: Self = Self { slot: 0, position: 0 };
}

impl From<usize> for Place {
    /// A position of the first slot: all there is without slots.
    fn from(position: usize) -> Self {
        Self { slot: 0, position }
    }
}

/// Makes the next step about `n_tokens` columns, neighbours from `first`.
pub fn write_state(gpu: &Gpu, to: &Buffer, first: Place, n_tokens: usize) {
    let zeroed: GpuState = bytemuck::Zeroable::zeroed();
    let (position, slot) = (first.position as u32, first.slot as u32);
    let state = GpuState { position, slot, n_tokens: n_tokens as u32, ..zeroed };
    gpu.write(to, 0, bytemuck::bytes_of(&state));
}

/// Makes the next step about tokens of several slots, a column each: at most `MAX_SLOTS`.
pub fn write_slots_state(gpu: &Gpu, to: &Buffer, columns: &[Place]) {
    let mut state: GpuState = bytemuck::Zeroable::zeroed();
    state.n_tokens = columns.len() as u32;
    for (i, place) in columns.iter().enumerate() {
        (state.positions[i], state.slots[i]) = (place.position as u32, place.slot as u32);
    }
    gpu.write(to, 0, bytemuck::bytes_of(&state));
}

/// How far the steps of one sequence have come, as the state tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where the last token stands.
    pub position: usize,
    /// Drafts that the last lookup found.
    pub n_found: usize,
    /// Drafts checked since the host wrote the state.
    pub n_drafted: usize,
    /// Those among them that were right.
    pub n_accepted: usize,
}

/// Bytes at the start of the state that say so.
pub const PROGRESS_BYTES: u64 = std::mem::offset_of!(GpuState, pad0) as u64;

impl Progress {
    /// Reads the first `PROGRESS_BYTES` of a state.
    ///
    /// # Panics
    /// When there are fewer: a programmer's error.
    pub fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| bytemuck::pod_read_unaligned::<u32>(&bytes[at..at + 4]) as usize;
        Self {
            position: word(std::mem::offset_of!(GpuState, position)),
            n_found: word(std::mem::offset_of!(GpuState, n_found)),
            n_drafted: word(std::mem::offset_of!(GpuState, n_drafted)),
            n_accepted: word(std::mem::offset_of!(GpuState, n_accepted)),
        }
    }
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
    variants.extend(speculate::variants());
    variants.extend(roof::variants(caps));
    variants
}
