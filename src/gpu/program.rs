//! Record once, replay: a `Recording` is a list of dispatches as data, a `Program` the same list with compiled pipelines and
//! bind groups. Nothing here knows a model.

use super::shader::{Access, Caps, Kernel, Variant};
use super::work::{Cost, Extent, Work};
use super::{Buffer, Choices, Gpu, Pipeline};
use crate::error::{Error, Result};
use std::cell::Cell;
use std::fmt::Write;
use std::ops::Range;
use std::rc::Rc;

/// Params stand at multiples of this in their uniform buffer: the strictest alignment WebGPU allows devices to ask for.
const PARAMS_SLOT: u64 = 256;

/// Workgroups along one axis that every device takes.
const MAX_GROUPS: u32 = 65_535;

/// One kernel run: which variant, with which params, over which buffers, how many workgroups, and what it has to do.
#[derive(Debug)]
struct Dispatch {
    kernel: &'static Kernel,
    variant: Variant,
    params: Vec<u8>,
    buffers: Vec<Buffer>,
    grid: Grid,
    work: Work,
}

/// How many workgroups a dispatch takes. A program is recorded for many columns and run with fewer: workgroups that would
/// find nothing to do are not started.
#[derive(Clone, Copy, Debug)]
pub enum Grid {
    /// As many, whatever the columns.
    Fixed(u32),
    /// ⌈⌈columns · `per_column` / `per_tile`⌉ · `times` / `per_group`⌉.
    Columns {
        /// Columns it is recorded for.
        n_columns: u32,
        /// Items of a column, such as threads or queries.
        per_column: u32,
        /// Items that are done at once.
        per_tile: u32,
        /// How often each of those is needed.
        times: u32,
        /// How many of those a workgroup takes.
        per_group: u32,
    },
}

impl From<u32> for Grid {
    fn from(n_groups: u32) -> Self {
        Self::Fixed(n_groups)
    }
}

impl Grid {
    /// One thread per item, `per_column` of them for each of `n_columns`, in workgroups of `threads`.
    pub fn threads(n_columns: u32, per_column: u32, threads: u32) -> Self {
        Self::Columns { n_columns, per_column, per_tile: 1, times: 1, per_group: threads }
    }

    /// Workgroups for the first `at_work` columns.
    fn n_groups(&self, at_work: u32) -> u32 {
        match *self {
            Self::Fixed(n_groups) => n_groups,
            Self::Columns { n_columns, per_column, per_tile, times, per_group } => {
                ((at_work.min(n_columns) * per_column).div_ceil(per_tile) * times).div_ceil(per_group)
            }
        }
    }
}

/// A list of dispatches in order, not yet compiled.
#[derive(Debug)]
pub struct Recording {
    caps: Caps,
    choices: Choices,
    dispatches: Vec<Dispatch>,
}

impl Recording {
    /// An empty list for a device.
    pub fn new(caps: Caps, choices: Choices) -> Self {
        Self { caps, choices, dispatches: Vec::new() }
    }

    /// What the device can do: kernels choose their variants by it.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Which of several right shaders to take.
    pub fn choices(&self) -> Choices {
        self.choices
    }

    /// Appends a run of `kernel` with `n_groups` workgroups; `buffers` in the order of its bindings, `work` by
    /// `kernels::cost`.
    ///
    /// # Panics
    /// When the number of buffers or the size of the params is not the kernel's: a programmer's error.
    pub(crate) fn dispatch<P: bytemuck::Pod>(
        &mut self,
        kernel: &'static Kernel,
        variant: Variant,
        params: P,
        buffers: &[&Buffer],
        grid: impl Into<Grid>,
        work: Work,
    ) {
        assert_eq!(buffers.len(), kernel.bindings.len(), "{}: buffers", kernel.name);
        assert_eq!(size_of::<P>(), kernel.params.size, "{}: params", kernel.name);
        self.dispatches.push(Dispatch {
            kernel,
            variant,
            params: bytemuck::bytes_of(&params).to_vec(),
            buffers: buffers.iter().map(|&buffer| buffer.clone()).collect(),
            grid: grid.into(),
            work,
        });
    }

    /// How many dispatches it holds.
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// What all of it has to do on `extent`.
    pub fn cost(&self, extent: &Extent) -> Cost {
        self.dispatches.iter().map(|dispatch| dispatch.work.evaluate(extent)).sum()
    }

    /// The list as text, a line per dispatch: kernel, variant, workgroups. For golden tests and for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for dispatch in &self.dispatches {
            let _ = writeln!(
                text,
                "{} [{}] x{}",
                dispatch.kernel.name,
                dispatch.variant.label(),
                dispatch.grid.n_groups(u32::MAX)
            );
        }
        text
    }
}

struct Step {
    pipeline: Rc<Pipeline>,
    bind_group: wgpu::BindGroup,
    buffers: Vec<Buffer>,
    grid: Grid,
    label: Label,
    work: Work,
}

/// Which shader a dispatch runs: the profiler groups by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Its variant: `q4_0 subgroup WG=64`.
    pub variant: String,
}

/// A compiled recording: each run is one compute pass over the same bind groups.
pub struct Program {
    steps: Vec<Step>,
    /// Columns that runs are about; at first all it is recorded for.
    at_work: Cell<u32>,
}

/// Folds a number of workgroups over two axes; the kernel recovers the linear index and guards the rest.
fn fold_grid(n_groups: u32) -> [u32; 2] {
    if n_groups <= MAX_GROUPS { [n_groups, 1] } else { [MAX_GROUPS, n_groups.div_ceil(MAX_GROUPS)] }
}

impl Program {
    /// Dispatches per run.
    pub fn n_dispatches(&self) -> usize {
        self.steps.len()
    }

    /// The shader of every dispatch, in order.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.steps.iter().map(|step| &step.label)
    }

    /// The shader of dispatch `i`.
    pub(crate) fn label(&self, i: usize) -> &Label {
        &self.steps[i].label
    }

    /// What dispatch `i` reads and writes, in the order of its kernel's bindings.
    pub(crate) fn buffers(&self, i: usize) -> &[Buffer] {
        &self.steps[i].buffers
    }

    /// What all of them have to do on `extent`.
    pub fn cost(&self, extent: &Extent) -> Cost {
        self.steps.iter().map(|step| step.work.evaluate(extent)).sum()
    }

    /// What every dispatch has to do on `extent`, in order.
    pub fn costs(&self, extent: &Extent) -> Vec<Cost> {
        self.steps.iter().map(|step| step.work.evaluate(extent)).collect()
    }

    /// Makes the bind groups, with the shaders that `pipeline` gives.
    pub(super) fn build(
        gpu: &Gpu,
        recording: &Recording,
        pipeline: &mut dyn FnMut(&'static Kernel, &Variant) -> Rc<Pipeline>,
    ) -> Result<Self> {
        let params = gpu.uniform("params", PARAMS_SLOT * recording.dispatches.len() as u64);
        let mut slots = vec![0u8; PARAMS_SLOT as usize * recording.dispatches.len()];
        let mut steps = Vec::with_capacity(recording.dispatches.len());
        for (i, dispatch) in recording.dispatches.iter().enumerate() {
            let at = i * PARAMS_SLOT as usize;
            slots[at..at + dispatch.params.len()].copy_from_slice(&dispatch.params);
            check_bindings(gpu, dispatch)?;
            let pipeline = pipeline(dispatch.kernel, &dispatch.variant);
            let bind_group = bind(gpu, &pipeline.layout, dispatch, &params, at as u64);
            let label = Label { kernel: dispatch.kernel.name, variant: dispatch.variant.label() };
            let (grid, work) = (dispatch.grid, dispatch.work);
            let buffers = dispatch.buffers.clone();
            steps.push(Step { pipeline, bind_group, buffers, grid, label, work });
        }
        gpu.write(&params, 0, &slots);
        Ok(Self { steps, at_work: Cell::new(u32::MAX) })
    }

    /// Runs from now on are about the first `n_columns` columns, as the state says they are.
    pub fn set_columns(&self, n_columns: u32) {
        self.at_work.set(n_columns);
    }

    /// All of it.
    pub fn whole(&self) -> Run<'_> {
        Run { steps: &self.steps, at_work: self.at_work.get() }
    }

    /// All of it in runs that have at most `max_flops` to do on `extent`, or one dispatch.
    pub fn pieces(&self, extent: &Extent, max_flops: u64) -> impl Iterator<Item = Run<'_>> {
        let flops: Vec<u64> = self.costs(extent).iter().map(|cost| cost.flops).collect();
        pieces(&flops, max_flops).into_iter().map(|piece| Run { steps: &self.steps[piece], ..self.whole() })
    }

    /// All of it but the last dispatch.
    pub fn without_last(&self) -> Run<'_> {
        Run { steps: &self.steps[..self.steps.len() - 1], ..self.whole() }
    }

    /// Its last dispatch alone.
    pub fn last(&self) -> Run<'_> {
        Run { steps: &self.steps[self.steps.len() - 1..], ..self.whole() }
    }

    /// The dispatches at `which` alone, in that order.
    pub(super) fn encode_some(&self, pass: &mut wgpu::ComputePass<'_>, which: &[usize]) {
        which.iter().for_each(|i| self.steps[*i].encode(pass, self.at_work.get()));
    }
}

/// Dispatches of a program, to be run in order.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    steps: &'a [Step],
    at_work: u32,
}

impl Run<'_> {
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps.iter().for_each(|step| step.encode(pass, self.at_work));
    }
}

impl Step {
    fn encode(&self, pass: &mut wgpu::ComputePass<'_>, at_work: u32) {
        let [x, y] = fold_grid(self.grid.n_groups(at_work));
        let compiled = self.pipeline.compiled.get();
        pass.set_pipeline(compiled.expect("a program is run after its compiler has finished"));
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

/// Neighbours whose sum is at most `most`, or one alone.
fn pieces(parts: &[u64], most: u64) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut sum = 0;
    for (i, part) in parts.iter().enumerate() {
        sum += part;
        match pieces.last_mut() {
            Some(piece) if sum <= most => piece.end = i + 1,
            _ => {
                sum = *part;
                pieces.push(i..i + 1);
            }
        }
    }
    pieces
}

/// A buffer may not be read and written in one dispatch, nor exceed what a binding may hold.
fn check_bindings(gpu: &Gpu, dispatch: &Dispatch) -> Result<()> {
    for (buffer, access) in dispatch.buffers.iter().zip(dispatch.kernel.bindings) {
        let available = gpu.info().max_binding_bytes;
        if buffer.n_bytes() > available {
            let what = format!("bytes in one binding of {}", dispatch.kernel.name);
            return Err(Error::Limit { what, needed: buffer.n_bytes(), available });
        }
        if *access == Access::ReadWrite {
            let uses = dispatch.buffers.iter().filter(|other| other.is(buffer)).count();
            assert_eq!(uses, 1, "{}: a written buffer is bound twice", dispatch.kernel.name);
        }
    }
    Ok(())
}

fn bind(gpu: &Gpu, layout: &wgpu::BindGroupLayout, dispatch: &Dispatch, params: &Buffer, at: u64) -> wgpu::BindGroup {
    let slot = wgpu::BufferBinding {
        buffer: &params.0,
        offset: at,
        size: std::num::NonZeroU64::new(dispatch.params.len() as u64),
    };
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(slot) }];
    for (i, buffer) in dispatch.buffers.iter().enumerate() {
        entries.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource: buffer.0.as_entire_binding() });
    }
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(dispatch.kernel.name),
        layout,
        entries: &entries,
    })
}

/// The bind group layout that the declaration of `kernel` says: an automatic one would drop unused bindings.
pub(super) fn layout(device: &wgpu::Device, kernel: &Kernel) -> wgpu::BindGroupLayout {
    let entry = |binding: u32, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
    entries.extend(kernel.bindings.iter().enumerate().map(|(i, access)| {
        let read_only = *access == Access::Read;
        entry(i as u32 + 1, wgpu::BufferBindingType::Storage { read_only })
    }));
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(kernel.name), entries: &entries })
}

/// Compiles WGSL for `kernel`, with its layout; faster where `cache` holds it.
pub(super) fn compile(
    device: &wgpu::Device,
    kernel: &Kernel,
    wgsl: &str,
    layout: &wgpu::BindGroupLayout,
    cache: Option<&wgpu::PipelineCache>,
) -> wgpu::ComputePipeline {
    let label = Some(kernel.name);
    let module = module(device, wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(wgsl.into()) });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(layout)],
            immediate_size: 0,
        })),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Workgroup memory is written before it is read.
            zero_initialize_workgroup_memory: false,
            ..wgpu::PipelineCompilationOptions::default()
        },
        cache,
    })
}

/// A module without bounds checks on buffers and without bounded loops: they cost up to half of a kernel's time.
#[expect(unsafe_code, reason = "indices are below the sizes that Rust checks before it records a dispatch")]
fn module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: every index in a kernel comes from params, the state or a token id. Params are made from the shapes of the very
    // buffers bound; the host keeps positions below the context; ids are checked by the host or made by the sampler; `embed`
    // and the sampler skip ids out of range. Loops run to counts in params. Browsers ignore this and check.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_hold_everything_once_and_no_more_than_they_may() {
        assert_eq!(pieces(&[3, 4, 3, 20, 1, 9, 1], 10), [0..3, 3..4, 4..6, 6..7]);
        assert_eq!(pieces(&[0, 0, 11], 10), [0..2, 2..3]);
        assert!(pieces(&[], 10).is_empty());
    }
}
