//! From logits to a token, or to a likelihood: `mask.wgsl`, `sample.wgsl`, `nll.wgsl`.

use super::{ColumnsAre, MAX_SLOTS, Pass, WORKGROUP, cost, groups_for};
use crate::gpu::shader::{Access, Caps, Kernel, Variant, params};
use crate::gpu::tensor::Columns;
use crate::gpu::wgsl::wgsl;
use crate::gpu::{Buffer, Gpu, Grid};
use crate::text::SamplingParams;

/// Chooses the next token of each column.
pub static SAMPLE: Kernel = Kernel {
    name: "sample",
    source: wgsl!("sample"),
    params: SampleParams::LAYOUT,
    bindings: &[Access::Read, Access::ReadWrite, Access::ReadWrite, Access::ReadWrite],
};

/// Leaves each column the tokens that its mask allows.
pub static MASK: Kernel = Kernel {
    name: "mask",
    source: wgsl!("mask"),
    params: MaskParams::LAYOUT,
    bindings: &[Access::Read, Access::ReadWrite],
};

/// Negative log-likelihood of the next token of every column.
pub static NLL: Kernel = Kernel {
    name: "nll",
    source: wgsl!("nll"),
    params: NllParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
};

/// What `sample` writes when the logits hold no number.
pub const BAD_TOKEN: u32 = u32::MAX;

/// Threads of a workgroup of the sampler: the most that every device takes.
const SAMPLE_WORKGROUP: u32 = 256;

/// Columns of a workgroup of `nll`.
const COLUMNS: u32 = 8;

params! {
    /// Params of `sample.wgsl`.
    SampleParams {
        n_cols: u32,
        context_len: u32,
        stride: u32,
        pad0: u32,
    }
}

params! {
    /// Params of `mask.wgsl`.
    MaskParams {
        n_cols: u32,
        stride: u32,
        n_words: u32,
        n_columns: u32,
    }
}

params! {
    /// Params of `nll.wgsl`.
    NllParams {
        n_cols: u32,
        stride: u32,
        pad0: u32,
        pad1: u32,
    }
}

params! {
    /// `Sampling` of `sample.wgsl`: a request's parameters, written once per request.
    GpuSampling {
        temperature: f32,
        top_p: f32,
        min_p: f32,
        repeat_penalty: f32,
        top_k: u32,
        repeat_last_n: u32,
        seed: u32,
        pad0: u32,
    }
}

/// Layout of `Sampling` in `sample.wgsl`, for the contract test.
pub const SAMPLING_LAYOUT: crate::gpu::shader::ParamsLayout = GpuSampling::LAYOUT;

impl From<&SamplingParams> for GpuSampling {
    fn from(sampling: &SamplingParams) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            top_k: sampling.top_k,
            repeat_last_n: sampling.repeat_last_n,
            seed: sampling.seed,
            pad0: 0,
        }
    }
}

/// Writes the parameters of a column's request to the buffer that `sample` reads.
pub fn write_sampling(gpu: &Gpu, to: &Buffer, column: usize, sampling: &SamplingParams) {
    let offset = column * size_of::<GpuSampling>();
    gpu.write(to, offset as u64, bytemuck::bytes_of(&GpuSampling::from(sampling)));
}

/// Bytes of that buffer.
pub const SAMPLING_BYTES: u64 = (MAX_SLOTS * size_of::<GpuSampling>()) as u64;

/// Whose next tokens are chosen, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// That of one sequence: appended.
    Sequence,
    /// Those of several slots: appended.
    Slots,
    /// Those behind every column of one sequence, the columns after the first being drafts: kept for `accept`.
    Drafts,
}

impl Next {
    fn new(columns: ColumnsAre, n_columns: u32) -> Self {
        match (columns, n_columns) {
            (ColumnsAre::Slots, _) => Self::Slots,
            (ColumnsAre::Sequence, 1) => Self::Sequence,
            (ColumnsAre::Sequence, _) => Self::Drafts,
        }
    }

    /// The file of the `next` slot.
    fn slot(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Slots => "slots",
            Self::Drafts => "drafts",
        }
    }
}

fn sample_variant(next: Next) -> Variant {
    Variant::new().slot("next", next.slot()).size("WG", SAMPLE_WORKGROUP)
}

/// Chooses a token from each column of `logits` (which it changes). One column, or columns with slots of their own: appends
/// it to `history` (`(slot, context_len + 1)` ids by position) and advances the state of `pass`. Several columns of one
/// sequence, up to `MAX_SLOTS`: leaves it in the state for `accept`.
pub fn sample(pass: &mut Pass<'_>, sampling: &Buffer, logits: &Columns, history: &Buffer, context_len: u32) {
    let params = SampleParams { n_cols: logits.n_values, context_len, stride: logits.stride(), pad0: 0 };
    let buffers = [sampling, &logits.buffer, history, pass.state];
    let next = Next::new(pass.columns, logits.n_columns);
    let at_work = match next {
        Next::Sequence => cost::ColumnsAtWork::One,
        Next::Slots | Next::Drafts => cost::ColumnsAtWork::All,
    };
    let (variant, work) = (sample_variant(next), cost::sample(logits.n_values, at_work));
    pass.rec.dispatch(&SAMPLE, variant, params, &buffers, logits.n_columns, work);
}

/// Words of a mask over `vocab_size` tokens: token i is bit i % 32 of word i / 32.
pub fn mask_words(vocab_size: u32) -> usize {
    vocab_size.div_ceil(32) as usize
}

fn mask_variant() -> Variant {
    Variant::new().size("WG", WORKGROUP)
}

/// Makes tokens impossible whose bit is not set in `allowed` `(n_columns, mask_words)`: to be run before `sample`.
pub fn mask(pass: &mut Pass<'_>, allowed: &Buffer, logits: &Columns) {
    let n_words = mask_words(logits.n_values);
    assert!(allowed.n_bytes() >= u64::from(logits.n_columns) * n_words as u64 * 4, "masks of all columns");
    let params = MaskParams {
        n_cols: logits.n_values,
        stride: logits.stride(),
        n_words: n_words as u32,
        n_columns: logits.n_columns,
    };
    let n_groups = groups_for(logits.n_columns * logits.n_values);
    let work = cost::mask(logits.n_values, logits.n_columns);
    pass.rec.dispatch(&MASK, mask_variant(), params, &[allowed, &logits.buffer], n_groups, work);
}

fn nll_variant(caps: &Caps) -> Variant {
    Variant::new().team(caps).size("WG", WORKGROUP).size("COLS", COLUMNS)
}

/// y[column] = −ln p(the id after the column's position in `history`), p = softmax(logits[column]).
pub fn nll(pass: &mut Pass<'_>, logits: &Columns, history: &Buffer, y: &Buffer) {
    let params = NllParams { n_cols: logits.n_values, stride: logits.stride(), pad0: 0, pad1: 0 };
    let variant = nll_variant(pass.rec.caps());
    let buffers = [pass.state, &logits.buffer, history, y];
    let grid = Grid::threads(logits.n_columns, 1, COLUMNS);
    pass.rec.dispatch(&NLL, variant, params, &buffers, grid, cost::nll(logits.n_values));
}

/// Every variant these functions record.
pub(super) fn variants(caps: &Caps) -> Vec<(&'static Kernel, Variant)> {
    let samplers = [Next::Sequence, Next::Slots, Next::Drafts].map(|next| (&SAMPLE, sample_variant(next)));
    samplers.into_iter().chain([(&MASK, mask_variant()), (&NLL, nll_variant(caps))]).collect()
}
