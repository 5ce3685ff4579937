//! The only home of `wgpu`: adapter and device, buffers, pipelines, read-back. Everything above speaks of buffers,
//! recordings and programs. Errors of the driver become `Error::Gpu` here and nowhere else.

pub mod choices;
pub mod compiler;
mod kept;
pub mod program;
pub mod shader;
pub mod tensor;
pub mod timing;
mod upload;
pub(crate) mod wgsl;
pub mod work;

#[cfg(target_arch = "wasm32")]
#[path = "compiler/browser.rs"]
mod workers;
#[cfg(not(target_arch = "wasm32"))]
#[path = "compiler/threads.rs"]
mod workers;

use crate::error::{Error, Result};
use serde::Serialize;
use shader::Caps;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

pub use choices::{Choices, Math, OneColumn, Share};
pub use compiler::Compiler;
pub use program::{Grid, Label, Program, Recording, Run};
pub use tensor::Matrix;
pub use upload::Line;
pub(crate) use upload::Uploads;
pub use work::{Cost, Extent, Work};

/// What an adapter is and can do: `trice devices` and the page's device panel print it.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceInfo {
    /// Position in the list of adapters.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `webgpu`.
    pub backend: String,
    /// The driver and its version, where known.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `cpu`, `other`.
    pub kind: String,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Timestamps of what runs on it.
    pub timestamps: bool,
    /// Subgroup operations in shaders.
    pub subgroups: bool,
    /// Smallest and largest subgroup.
    pub subgroup_size: (u32, u32),
    /// Bytes of the largest storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of the largest buffer.
    pub max_buffer_bytes: u64,
    /// Bytes of workgroup memory.
    pub max_workgroup_bytes: u32,
    /// Storage buffers per shader stage.
    pub max_storage_buffers: u32,
}

/// What the page's shim (web/shim.js) tells of the adapter, which wgpu 30 does not: whether it has subgroups (the shim asks for
/// them), and its name.
#[cfg(target_arch = "wasm32")]
fn amend(info: &mut DeviceInfo) {
    let tell = |name: &str| js_sys::Reflect::get(&js_sys::global(), &name.into()).ok();
    info.subgroups = tell("triceSubgroups").is_some_and(|flag| flag.is_truthy());
    info.name = tell("triceAdapterName")
        .and_then(|name| name.as_string())
        .filter(|name| !name.is_empty())
        .unwrap_or("WebGPU adapter".to_owned());
    info.backend = "webgpu".to_owned();
}

#[cfg(not(target_arch = "wasm32"))]
fn amend(_: &mut DeviceInfo) {}

const BROWSER: bool = cfg!(target_arch = "wasm32");

impl DeviceInfo {
    fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let features = adapter.features();
        let limits = adapter.limits();
        let driver = format!("{} {}", info.driver, info.driver_info);
        let mut this = Self {
            index,
            name: info.name,
            backend: info.backend.to_str().into(),
            driver: driver.trim().into(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "cpu",
                wgpu::DeviceType::Other => "other",
            }
            .into(),
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup_size: (info.subgroup_min_size, info.subgroup_max_size),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        };
        amend(&mut this);
        this
    }
}

/// Words for a machine without a usable adapter: what is missing and what to do.
const NO_ADAPTER: &str = if BROWSER {
    "this browser offers no WebGPU adapter"
} else {
    "no GPU adapter found: install a Vulkan driver (on Debian and Ubuntu: mesa-vulkan-drivers), or Metal or DX12 on other systems"
};

fn new_instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // Indirect dispatch is never used; its validation would cost a dispatch each.
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// One instance for the process, which lives as long as it does: NVIDIA's driver (580, Vulkan) corrupts the heap where one thread makes
/// an instance while another's goes (in 5 of 8 runs of the tests on four threads, in 0 of 8 with one instance).
#[cfg(not(target_arch = "wasm32"))]
async fn find_adapters() -> Vec<wgpu::Adapter> {
    static INSTANCE: std::sync::LazyLock<wgpu::Instance> = std::sync::LazyLock::new(new_instance);
    INSTANCE.enumerate_adapters(wgpu::Backends::PRIMARY).await
}

/// A browser offers one adapter, the one it thinks fastest.
#[cfg(target_arch = "wasm32")]
async fn find_adapters() -> Vec<wgpu::Adapter> {
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..wgpu::RequestAdapterOptions::default()
    };
    new_instance().request_adapter(&options).await.into_iter().collect()
}

/// What a driver reported on its own: read at the next submit or read-back.
#[derive(Default)]
struct Trouble {
    /// Why the device is gone, for good.
    lost: Option<String>,
    /// The first error of the work at hand: too little memory, a wrong use.
    error: Option<String>,
}

/// A buffer on the device. Cloning shares it; the memory goes when the last clone goes.
#[derive(Clone, Debug)]
pub struct Buffer(Rc<wgpu::Buffer>, Rc<str>);

impl Buffer {
    /// What it was called when it was made: of a matrix, its first tensor's name.
    pub fn label(&self) -> &str {
        &self.1
    }

    /// Its size in bytes.
    pub fn n_bytes(&self) -> u64 {
        self.0.size()
    }

    fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// A buffer the host can read, filled by `Gpu::submit` and read by `Gpu::fetch`.
#[derive(Debug)]
pub struct ReadBack {
    buffer: wgpu::Buffer,
    /// What was submitted to fill it.
    filled_by: RefCell<Option<wgpu::SubmissionIndex>>,
}

/// A point in the device's queue.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Mark(wgpu::SubmissionIndex);

/// A point in the device's queue.
#[cfg(target_arch = "wasm32")]
pub(crate) struct Mark(futures_channel::oneshot::Receiver<()>);

/// Bytes of a buffer for the host to read.
#[derive(Clone, Copy, Debug)]
pub struct CopyOut<'a> {
    /// What is copied.
    pub from: &'a Buffer,
    /// From where, in bytes; a multiple of 4, as are the others.
    pub offset: u64,
    /// How much.
    pub n_bytes: u64,
    /// Takes it.
    pub to: &'a ReadBack,
    /// From where on.
    pub to_offset: u64,
}

/// Bytes of a buffer on their way to another place in it.
#[derive(Clone, Copy, Debug)]
pub struct CopyWithin<'a> {
    /// The buffer.
    pub buffer: &'a Buffer,
    /// From where, in bytes; a multiple of 4, as are the others.
    pub from: u64,
    /// To where.
    pub to: u64,
    /// How much.
    pub n_bytes: u64,
}

/// A variant with its bind group layout, compiled once its compiler has finished.
struct Pipeline {
    layout: wgpu::BindGroupLayout,
    compiled: OnceCell<wgpu::ComputePipeline>,
}

/// An open device with its queue and compiled shaders.
pub struct Gpu {
    info: DeviceInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    choices: Cell<Choices>,
    pipelines: RefCell<HashMap<compiler::Key, Rc<Pipeline>>>,
    /// Compiled shaders of earlier runs, where the host keeps them.
    kept: OnceCell<kept::Kept>,
    trouble: Arc<Mutex<Trouble>>,
    traffic: Cell<Traffic>,
}

/// What passed between host and device since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Command buffers submitted.
    pub submits: u64,
    /// Results waited for.
    pub read_backs: u64,
}

impl Gpu {
    /// Every adapter there is; empty where there is none.
    pub async fn adapters() -> Vec<DeviceInfo> {
        find_adapters().await.iter().enumerate().map(|(index, adapter)| DeviceInfo::new(index, adapter)).collect()
    }

    /// Opens the adapter whose index or part of whose name is `choice`; none means the fastest kind there is.
    ///
    /// # Errors
    /// `Unsupported` without an adapter, `Invalid` when none matches `choice`, `Gpu` when the driver refuses a device.
    pub async fn open(choice: Option<&str>) -> Result<Self> {
        let adapters = find_adapters().await;
        let infos: Vec<_> =
            adapters.iter().enumerate().map(|(index, adapter)| DeviceInfo::new(index, adapter)).collect();
        let index = choose(&infos, choice)?;
        let adapter = &adapters[index];
        let wanted = wgpu::Features::SUBGROUP
            | wgpu::Features::SHADER_F16
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::PIPELINE_CACHE;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("trice"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| Error::Gpu { during: "opening the device", reason: error.to_string() })?;
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        let lost = trouble.clone();
        device.set_device_lost_callback(move |reason, message| {
            if let Ok(mut trouble) = lost.lock() {
                trouble.lost.get_or_insert(format!("the device was lost ({reason:?}) {message}"));
            }
        });
        let uncaptured = trouble.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            if let Ok(mut trouble) = uncaptured.lock() {
                trouble.error.get_or_insert(error.to_string());
            }
        }));
        let info = infos[index].clone();
        Ok(Self {
            info,
            device,
            queue,
            choices: Cell::default(),
            pipelines: RefCell::default(),
            kept: OnceCell::new(),
            trouble,
            traffic: Cell::default(),
        })
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The same device, pretending that bindings hold no more than `n_bytes`: how smaller devices split their tensors.
    pub fn with_max_binding(mut self, n_bytes: u64) -> Self {
        self.info.max_binding_bytes = self.info.max_binding_bytes.min(n_bytes);
        self
    }

    /// The same device without subgroups: how devices that have none run.
    pub fn without_subgroups(mut self) -> Self {
        self.info.subgroups = false;
        self
    }

    /// The same device without timestamps: how devices that have none are profiled.
    pub fn without_timestamps(mut self) -> Self {
        self.info.timestamps = false;
        self
    }

    /// What has passed between host and device so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    fn count(&self, submits: u64, read_backs: u64) {
        let Traffic { submits: s, read_backs: r } = self.traffic.get();
        self.traffic.set(Traffic { submits: s + submits, read_backs: r + read_backs });
    }

    /// What shaders must know of it.
    pub fn caps(&self) -> Caps {
        Caps {
            subgroups: self.info.subgroups,
            f16: self.info.f16,
            min_lanes: if self.info.subgroups { self.info.subgroup_size.0 } else { 0 },
            browser: BROWSER,
        }
    }

    /// The same device with other shaders chosen.
    pub fn with_choices(self, choices: Choices) -> Self {
        self.choose(choices);
        self
    }

    /// Chooses other shaders for what is recorded from now on.
    pub fn choose(&self, choices: Choices) {
        self.choices.set(choices);
    }

    /// Which shaders serve it.
    pub fn choices(&self) -> Choices {
        self.choices.get()
    }

    /// An empty list of dispatches for this device.
    pub fn recording(&self) -> Recording {
        self.recording_with(self.choices())
    }

    /// The same with other shaders chosen.
    pub fn recording_with(&self, choices: Choices) -> Recording {
        Recording::new(self.caps(), choices)
    }

    /// `Err` once the driver has reported anything wrong or the device is gone.
    pub fn check(&self, during: &'static str) -> Result<()> {
        let reason =
            self.trouble.lock().ok().and_then(|trouble| trouble.lost.as_ref().or(trouble.error.as_ref()).cloned());
        reason.map_or(Ok(()), |reason| Err(Error::Gpu { during, reason }))
    }

    /// Whether the device is gone, which it stays.
    pub fn is_lost(&self) -> bool {
        self.trouble.lock().is_ok_and(|trouble| trouble.lost.is_some())
    }

    /// Begins work that owes nothing to earlier work: forgets an error of that, such as a model too large for the memory.
    /// A lost device stays lost.
    pub fn begin(&self, during: &'static str) -> Result<()> {
        if let Ok(mut trouble) = self.trouble.lock() {
            trouble.error = None;
        }
        self.check(during)
    }

    /// Forces the device-lost path; for tests of what happens then.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// A zeroed storage buffer of at least `n_bytes`, which may also serve as uniform and be copied.
    ///
    /// # Errors
    /// `Limit` when it is larger than a binding may be.
    pub fn buffer(&self, label: &str, n_bytes: u64) -> Result<Buffer> {
        let available = self.info.max_binding_bytes.min(self.info.max_buffer_bytes);
        if n_bytes > available {
            return Err(Error::Limit {
                what: format!("bytes in one GPU buffer for {label}"),
                needed: n_bytes,
                available,
            });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        Ok(self.make(label, n_bytes, usage))
    }

    /// A zeroed small buffer for params and state: uniform and storage.
    pub fn uniform(&self, label: &str, n_bytes: u64) -> Buffer {
        let usage = wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        self.make(label, n_bytes, usage)
    }

    fn make(&self, label: &str, n_bytes: u64, usage: wgpu::BufferUsages) -> Buffer {
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            // Bindings are checked in words of a vec4, and empty buffers are refused.
            size: n_bytes.next_multiple_of(16).max(16),
            usage,
            mapped_at_creation: false,
        };
        Buffer(Rc::new(self.device.create_buffer(&descriptor)), label.into())
    }

    /// A buffer the host can read `n_bytes` from.
    pub fn read_back(&self, n_bytes: u64) -> ReadBack {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: n_bytes.next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        ReadBack { buffer, filled_by: RefCell::new(None) }
    }

    /// Copies `bytes` (a multiple of 4 long) to `buffer` at `offset`, before anything submitted later.
    pub fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        self.queue.write_buffer(&buffer.0, offset, bytes);
    }

    /// Submits one run of `program`, one pass in one command buffer, then a copy `(from, offset, n_bytes, to)`.
    pub fn submit(&self, program: &Program, copy: Option<(&Buffer, u64, u64, &ReadBack)>) -> Result<()> {
        let copy = copy.map(|(from, offset, n_bytes, to)| CopyOut { from, offset, n_bytes, to, to_offset: 0 });
        self.submit_runs(&[program.whole()], copy.as_slice())
    }

    /// Submits several runs in order, all in one pass in one command buffer, then copies.
    pub fn submit_runs(&self, runs: &[Run<'_>], copies: &[CopyOut<'_>]) -> Result<()> {
        self.check("running a program")?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for run in runs {
                run.encode(&mut pass);
            }
        }
        for CopyOut { from, offset, n_bytes, to, to_offset } in copies {
            encoder.copy_buffer_to_buffer(&from.0, *offset, &to.buffer, *to_offset, *n_bytes);
        }
        self.count(1, 0);
        let submitted = self.queue.submit([encoder.finish()]);
        for copy in copies {
            copy.to.filled_by.replace(Some(submitted.clone()));
        }
        Ok(())
    }

    /// Copies inside buffers, in one submit, by way of a buffer that is made for it: WebGPU copies from one buffer to another only.
    pub fn copy_within(&self, copies: &[CopyWithin<'_>]) -> Result<()> {
        self.check("copying")?;
        let most = copies.iter().map(|copy| copy.n_bytes).max().unwrap_or(0);
        let between = self.buffer("a copy", most)?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for CopyWithin { buffer, from, to, n_bytes } in copies {
            encoder.copy_buffer_to_buffer(&buffer.0, *from, &between.0, 0, *n_bytes);
            encoder.copy_buffer_to_buffer(&between.0, 0, &buffer.0, *to, *n_bytes);
        }
        self.count(1, 0);
        self.queue.submit([encoder.finish()]);
        Ok(())
    }

    /// Waits until the device has done what was given to it, so that neither staging memory nor its queue piles up.
    pub async fn flush(&self, during: &'static str) -> Result<()> {
        self.reached(self.mark(), during).await
    }

    /// Hands what was written to the device over; `reached` waits until it has done all that was given to it so far.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.queue.submit([]))
    }

    /// Hands what was written to the device over; `reached` waits until it has done all that was given to it so far.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn mark(&self) -> Mark {
        let (sender, receiver) = futures_channel::oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        Mark(receiver)
    }

    /// Waits until the device has done what was given to it before `mark`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn reached(&self, mark: Mark, during: &'static str) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: Some(mark.0), timeout: None })?;
        self.check(during)
    }

    /// Waits until the device has done what was given to it before `mark`.
    #[cfg(target_arch = "wasm32")]
    pub(crate) async fn reached(&self, mark: Mark, during: &'static str) -> Result<()> {
        let _ = mark.0.await;
        self.check(during)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn poll(&self, until: wgpu::PollType) -> Result<()> {
        match self.device.poll(until) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.check("waiting for the device")?;
                Err(Error::Gpu { during: "waiting for the device", reason: error.to_string() })
            }
        }
    }

    /// A browser calls back by itself.
    #[cfg(target_arch = "wasm32")]
    fn poll(&self, _until: wgpu::PollType) -> Result<()> {
        Ok(())
    }

    /// Waits for what was copied to `from` and returns its first `n_bytes`.
    pub async fn fetch(&self, from: &ReadBack, n_bytes: u64) -> Result<Vec<u8>> {
        self.count(0, 1);
        let (sender, receiver) = futures_channel::oneshot::channel();
        from.buffer.map_async(wgpu::MapMode::Read, .., move |outcome| {
            let _ = sender.send(outcome);
        });
        // What was submitted after it may go on meanwhile.
        self.poll(wgpu::PollType::Wait { submission_index: from.filled_by.take(), timeout: None })?;
        let failed = |reason: String| Error::Gpu { during: "reading results back", reason };
        match receiver.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.check("reading results back")?;
                return Err(failed(error.to_string()));
            }
            Err(_) => {
                self.check("reading results back")?;
                return Err(failed("the device dropped the request".into()));
            }
        }
        let bytes = {
            let view = from.buffer.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
            view[..n_bytes as usize].to_vec()
        };
        from.buffer.unmap();
        self.check("reading results back")?;
        Ok(bytes)
    }

    /// Reads `n_bytes` of `buffer` from `offset` back: for results that come once, not for the decode loop.
    pub async fn read(&self, buffer: &Buffer, offset: u64, n_bytes: u64) -> Result<Vec<u8>> {
        let to = self.read_back(n_bytes);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffer.0, offset, &to.buffer, 0, n_bytes);
        self.count(1, 0);
        to.filled_by.replace(Some(self.queue.submit([encoder.finish()])));
        self.fetch(&to, n_bytes).await
    }

    /// What makes programs while the caller does other things.
    pub fn compiler(&self) -> Compiler<'_> {
        Compiler::new(self)
    }

    /// Compiles `recording` and makes its bind groups: afterwards a run allocates nothing. `on_pipeline` hears how many of its
    /// shaders are compiled, and how many there are.
    ///
    /// # Errors
    /// As `Compiler::finish` and `Compiler::program`.
    pub async fn program(&self, recording: &Recording, on_pipeline: &mut dyn FnMut(usize, usize)) -> Result<Program> {
        let mut compiler = self.compiler();
        let program = compiler.program(recording)?;
        let mut hear = |done, total| {
            on_pipeline(done, total);
            Ok(())
        };
        compiler.finish(&mut hear).await?;
        Ok(program)
    }
}

/// The adapter meant by `choice`: an index, part of a name, or the fastest kind.
fn choose(infos: &[DeviceInfo], choice: Option<&str>) -> Result<usize> {
    if infos.is_empty() {
        return Err(Error::unsupported(NO_ADAPTER));
    }
    let Some(choice) = choice else {
        let rank = |info: &DeviceInfo| {
            ["discrete", "integrated", "virtual", "other", "cpu"].iter().position(|kind| info.kind == *kind)
        };
        return Ok(infos.iter().min_by_key(|info| rank(info)).map_or(0, |info| info.index));
    };
    let wanted = choice.to_lowercase();
    let found = match choice.parse::<usize>() {
        Ok(index) => infos.get(index),
        Err(_) => infos.iter().find(|info| info.name.to_lowercase().contains(&wanted)),
    };
    found.map(|info| info.index).ok_or_else(|| {
        let names: Vec<_> = infos.iter().map(|info| format!("{}: {}", info.index, info.name)).collect();
        Error::invalid(format!("no device matches `{choice}`; there are {}", names.join(", ")))
    })
}
