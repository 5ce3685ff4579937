//! Drafts and what becomes of them: `lookup.wgsl` finds them in the text, `adopt.wgsl` takes them from another decoder,
//! `accept.wgsl` keeps those that the model would have chosen.

use super::{Pass, WORKGROUP, cost};
use crate::gpu::Buffer;
use crate::gpu::shader::{Access, Kernel, Variant, params};
use crate::gpu::wgsl::wgsl;

/// Writes what followed the last ids of the history when they stood there before.
pub static LOOKUP: Kernel = Kernel {
    name: "lookup",
    source: wgsl!("lookup"),
    params: LookupParams::LAYOUT,
    bindings: &[Access::ReadWrite, Access::ReadWrite],
};

/// Appends the tokens chosen behind right drafts.
pub static ACCEPT: Kernel = Kernel {
    name: "accept",
    source: wgsl!("accept"),
    params: AcceptParams::LAYOUT,
    bindings: &[Access::ReadWrite, Access::ReadWrite],
};

/// Takes over the last ids of another decoder's history.
pub static ADOPT: Kernel = Kernel {
    name: "adopt",
    source: wgsl!("adopt"),
    params: AdoptParams::LAYOUT,
    bindings: &[Access::Read, Access::Read, Access::ReadWrite, Access::ReadWrite],
};

/// Ids that a match may have. Beyond four, what follows is hardly more certain.
const LONGEST_MATCH: u32 = 4;

/// Ids that a match must have: single ids (a space, a comma) stand everywhere and foretell nothing.
const SHORTEST_MATCH: u32 = 2;

params! {
    /// Params of `lookup.wgsl`.
    LookupParams {
        context_len: u32,
        max_drafts: u32,
        applies: u32,
        pad0: u32,
    }
}

params! {
    /// Params of `accept.wgsl`.
    AcceptParams {
        context_len: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

params! {
    /// Params of `adopt.wgsl`.
    AdoptParams {
        n: u32,
        their_context_len: u32,
        context_len: u32,
        pad0: u32,
    }
}

/// Token ids of sequences, `(slot, context_len + 1)` by position, and the state that says where they end.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The ids.
    pub ids: &'a Buffer,
    /// Where the sequence at work ends.
    pub state: &'a Buffer,
    /// Positions of a sequence.
    pub context_len: u32,
}

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// To make the next step about the last id and its drafts.
    Apply,
    /// To know how many drafts there are.
    Count,
}

fn lookup_variant() -> Variant {
    let variant = Variant::new().size("WG", WORKGROUP);
    variant.size("LONGEST", LONGEST_MATCH).size("SHORTEST", SHORTEST_MATCH)
}

/// Writes up to `max_drafts` drafts behind the last id of `history` (of the state of `pass`) and counts them in the state.
pub fn lookup(pass: &mut Pass<'_>, history: &Buffer, context_len: u32, max_drafts: u32, purpose: Lookup) {
    let params = LookupParams { context_len, max_drafts, applies: u32::from(purpose == Lookup::Apply), pad0: 0 };
    pass.rec.dispatch(&LOOKUP, lookup_variant(), params, &[history, pass.state], 1, cost::lookup(max_drafts));
}

/// Appends to `history` what `sample` chose behind the columns of a step, as far as their drafts were right.
pub fn accept(pass: &mut Pass<'_>, history: &Buffer, context_len: u32) {
    let params = AcceptParams { context_len, pad0: 0, pad1: 0, pad2: 0 };
    pass.rec.dispatch(&ACCEPT, Variant::new(), params, &[history, pass.state], 1, cost::accept());
}

/// Takes the last `n` ids of `theirs` over into `history`, and makes the next step about them and the id before them.
pub fn adopt(pass: &mut Pass<'_>, theirs: &History<'_>, history: &Buffer, context_len: u32, n: u32) {
    let params = AdoptParams { n, their_context_len: theirs.context_len, context_len, pad0: 0 };
    let buffers = [theirs.ids, theirs.state, history, pass.state];
    pass.rec.dispatch(&ADOPT, Variant::new(), params, &buffers, 1, cost::adopt(n));
}

/// Every variant these functions record.
pub(super) fn variants() -> Vec<(&'static Kernel, Variant)> {
    vec![(&LOOKUP, lookup_variant()), (&ACCEPT, Variant::new()), (&ADOPT, Variant::new())]
}
