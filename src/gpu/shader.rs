//! WGSL as text: a kernel file plus slots, composed for one device. Names no GPU library, so that every variant of every
//! kernel can be composed and checked without a GPU.
//!
//! A file begins with `#import NAME` lines. NAME is a file of `shaders/common`, or a slot that the variant fills with a file
//! of the folder of that name (`weights` ← `q4_k`). Everything a file needs to vary stands in the generated
//! header as `const`, never in an `#ifdef`; `enable` lines are written here, because naga and browsers differ on them.
//!
//! `#repeat i N` … `#end` writes the lines between N times with `$i` as 0, 1, …; N is a number or a constant of the variant.
//! Register tiles need it: an array indexed by a loop counter lives in memory where the driver does not unroll the loop
//! (SwiftShader and some phones), and a subgroup broadcast wants a constant lane.

use super::Share;
use super::wgsl::wgsl;
use std::collections::HashSet;
use std::fmt::Write;

/// What the device can do that shaders must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Subgroup operations.
    pub subgroups: bool,
    /// 16-bit floats.
    pub f16: bool,
    /// Lanes of the smallest subgroup; 0 without subgroups.
    pub min_lanes: u32,
    /// The text goes to a browser (which wants `enable subgroups;`), not to naga (which refuses it).
    pub browser: bool,
}

impl Caps {
    /// Lanes that load the vec4s of a granule of 32 activations for each other: 8, or 4 where a subgroup may be that small,
    /// or 1 without subgroups.
    pub fn share_lanes(&self) -> u32 {
        match (self.subgroups, self.min_lanes) {
            (true, 8..) => 8,
            (true, _) => 4,
            (false, _) => 1,
        }
    }
}

/// How a kernel uses a binding, a storage buffer. What changes between steps is never a uniform: Mesa compiles a shader anew
/// for new values of a uniform that its branches depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads it.
    Read,
    /// It writes it.
    ReadWrite,
}

/// A compute kernel as declared beside the Rust function that records it.
///
/// Binding 0 is its params, a uniform; bindings 1.. are `bindings` in order, all in group 0.
#[derive(Debug)]
pub struct Kernel {
    /// Name of the file in `shaders/`, of the profiler's label and of the CPU twin.
    pub name: &'static str,
    /// The file's text.
    pub source: &'static str,
    /// Field names and byte offsets of the params, and their size.
    pub params: ParamsLayout,
    /// Bindings 1..
    pub bindings: &'static [Access],
}

/// Layout of a params struct, compared with the WGSL one by a test.
#[derive(Clone, Copy, Debug)]
pub struct ParamsLayout {
    /// `(name, byte offset)` in order.
    pub fields: &'static [(&'static str, usize)],
    /// Bytes.
    pub size: usize,
}

/// Declares a params struct that is `Pod`, with its layout for the contract test.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }

        impl $name {
            pub(crate) const LAYOUT: $crate::gpu::shader::ParamsLayout = $crate::gpu::shader::ParamsLayout {
                fields: &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
                size: std::mem::size_of::<$name>(),
            };
        }
    };
}
pub(crate) use params;

/// The choices that make one shader out of a kernel: a file per slot and a value per constant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    slots: Vec<(&'static str, String)>,
    consts: Vec<(&'static str, u32)>,
    computes_in_f16: bool,
}

impl Variant {
    /// No choice made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills `slot` with the file `choice` of the folder of that name.
    pub fn slot(mut self, slot: &'static str, choice: impl Into<String>) -> Self {
        self.slots.push((slot, choice.into()));
        self
    }

    /// The same variant with another file in `slot`.
    pub fn replace(mut self, slot: &'static str, choice: impl Into<String>) -> Self {
        self.slots.retain(|(name, _)| *name != slot);
        self.slot(slot, choice)
    }

    /// `const NAME: u32 = value;` in the header.
    pub fn size(mut self, name: &'static str, value: u32) -> Self {
        self.consts.push((name, value));
        self
    }

    /// Its text computes with 16-bit floats. Weights and caches that only hold them are words, which every device unpacks.
    pub fn in_f16(mut self) -> Self {
        self.computes_in_f16 = true;
        self
    }

    /// The team slot for this device: `subgroup` where it has them, else `workgroup`.
    pub fn team(self, caps: &Caps) -> Self {
        self.slot("team", if caps.subgroups { "subgroup" } else { "workgroup" }).size("LANES", caps.share_lanes())
    }

    /// How lanes hear what their neighbours loaded.
    pub fn share(self, caps: &Caps, share: Share) -> Self {
        self.slot("share", if caps.subgroups { share.slot() } else { "alone" })
    }

    /// Whether it runs only where shaders have 16-bit floats.
    pub fn computes_in_f16(&self) -> bool {
        self.computes_in_f16
    }

    /// A short label: `q4_0 subgroup HD=64`.
    pub fn label(&self) -> String {
        let mut words: Vec<String> =
            self.slots.iter().filter(|(_, choice)| choice != "none").map(|(_, choice)| choice.clone()).collect();
        words.extend(self.consts.iter().map(|(name, value)| format!("{name}={value}")));
        words.join(" ")
    }

    /// The value of constant `name`.
    pub(crate) fn value(&self, name: &str) -> Option<u32> {
        self.consts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn choice(&self, slot: &str) -> Option<&str> {
        self.slots.iter().find(|(name, _)| *name == slot).map(|(_, choice)| choice.as_str())
    }
}

macro_rules! slot_files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, wgsl!($name))),*]
    };
}

/// Every file that holds no entry point: `folder/file`.
pub const SLOT_FILES: &[(&str, &str)] = slot_files![
    "activation/gelu",
    "activation/gelu_tanh",
    "activation/none",
    "activation/relu",
    "activation/silu",
    "activation/softcap",
    "activation/tanh",
    "arith/dot8",
    "arith/f16",
    "arith/f32",
    "bias/add",
    "bias/none",
    "columns/sequence",
    "columns/slots",
    "common/append",
    "common/bytes",
    "common/cache_row",
    "common/code_book",
    "common/f16_scale",
    "common/f16_scale_min",
    "common/fifth_bits",
    "common/floats",
    "common/grid",
    "common/head_moments",
    "common/iq4_book",
    "common/k_scale",
    "common/k_signed_scale",
    "common/nibbles",
    "common/one_bit",
    "common/plain_nibbles",
    "common/product",
    "common/quads",
    "common/scaled",
    "common/signed_codes",
    "common/state",
    "common/state_to_read",
    "common/two_bits",
    "common/unscaled",
    "common/unsigned_codes",
    "head_norm/layer",
    "head_norm/none",
    "head_norm/rms",
    "kv/f16",
    "kv/f32",
    "kv/q8",
    "kv/staged",
    "math/f16",
    "math/f32",
    "math/f32_sums",
    "math/int8",
    "next/drafts",
    "next/sequence",
    "next/slots",
    "norm_kind/layer",
    "norm_kind/rms",
    "output/gated",
    "output/plain",
    "output/qkv",
    "pooling/cls",
    "pooling/last",
    "pooling/mean",
    "prologue/none",
    "prologue/rms_norm",
    "residual/add",
    "residual/none",
    "residual/own",
    "residual/scaled",
    "rope/interleaved",
    "rope/neox",
    "rope/none",
    "score/plain",
    "score/relative",
    "score/softcap",
    "span/causal",
    "span/segment",
    "share/alone",
    "share/broadcast",
    "share/shuffle",
    "team/subgroup",
    "team/workgroup",
    "weights/bf16",
    "weights/f16",
    "weights/f32",
    "weights/iq4_nl",
    "weights/iq4_xs",
    "weights/mxfp4",
    "weights/q2_k",
    "weights/q3_k",
    "weights/q4_0",
    "weights/q4_1",
    "weights/q4_k",
    "weights/q5_0",
    "weights/q5_1",
    "weights/q5_k",
    "weights/q6_k",
    "weights/q8_0",
];

fn slot_file(path: &str) -> Option<&'static str> {
    SLOT_FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

/// The whole WGSL text of `kernel` in this variant on a device with `caps`: header, imported files, the kernel's own text,
/// each after a `// ---- file` line.
///
/// # Panics
/// When a kernel imports a file that does not exist or a slot the variant leaves open: a programmer's error, which the test
/// that composes every variant catches.
pub fn compose(kernel: &Kernel, variant: &Variant, caps: &Caps) -> String {
    let mut text = String::new();
    if caps.browser && variant.choice("team") == Some("subgroup") {
        text.push_str("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n");
    }
    if variant.computes_in_f16 {
        text.push_str("enable f16;\n");
    }
    for (name, value) in &variant.consts {
        let _ = writeln!(text, "const {name}: u32 = {value}u;");
    }
    append_imports(kernel.name, kernel.source, variant, &mut HashSet::new(), &mut text);
    let _ = writeln!(text, "// ---- {}", kernel.name);
    append_own_lines(kernel.source, variant, &mut text);
    text
}

/// Appends the files that `source` imports and those that they import, each once.
fn append_imports(name: &str, source: &str, variant: &Variant, seen: &mut HashSet<String>, text: &mut String) {
    for import in source.lines().filter_map(|line| line.strip_prefix("#import ")) {
        let path = match variant.choice(import.trim()) {
            Some(choice) => format!("{}/{choice}", import.trim()),
            None => format!("common/{}", import.trim()),
        };
        let file = slot_file(&path).unwrap_or_else(|| panic!("{name}.wgsl imports {path}, which is no file"));
        if seen.insert(path.clone()) {
            append_imports(&path, file, variant, seen, text);
            let _ = writeln!(text, "// ---- {path}");
            append_own_lines(file, variant, text);
        }
    }
}

fn append_own_lines(source: &str, variant: &Variant, text: &mut String) {
    let lines: Vec<_> = source.lines().filter(|line| !line.starts_with("#import ")).collect();
    unroll(&lines, variant, text);
}

/// Appends `lines` to `text`, writing what stands between `#repeat i N` and its `#end` N times.
fn unroll(lines: &[&str], variant: &Variant, text: &mut String) {
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        rest = after;
        let Some(head) = line.trim_start().strip_prefix("#repeat ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let (name, count) = head.trim().split_once(' ').unwrap_or_else(|| panic!("{line}: a name and a count wanted"));
        let count = count.parse().ok().or_else(|| variant.value(count));
        let count = count.unwrap_or_else(|| panic!("{line}: no constant of that name"));
        let length = block_length(rest).unwrap_or_else(|| panic!("{line}: no #end"));
        for i in 0..count {
            let body: Vec<String> =
                rest[..length].iter().map(|line| line.replace(&format!("${name}"), &i.to_string())).collect();
            unroll(&body.iter().map(String::as_str).collect::<Vec<_>>(), variant, text);
        }
        rest = &rest[length + 1..];
    }
}

/// Lines before the `#end` that closes a block.
fn block_length(lines: &[&str]) -> Option<usize> {
    let mut depth = 1;
    lines.iter().position(|line| {
        let line = line.trim_start();
        depth += i32::from(line.starts_with("#repeat ")) - i32::from(line.starts_with("#end"));
        depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_nest_and_take_constants() {
        let lines = ["a", "  #repeat i N", "b$i", "#repeat j 2", "c$i$j", "#end", "#end", "d"];
        let mut text = String::new();
        unroll(&lines, &Variant::new().size("N", 2), &mut text);
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["a", "b0", "c00", "c01", "b1", "c10", "c11", "d"]);
    }
}
