//! The only home of `wgpu`: adapter and device, buffers, pipelines, read-back.

use crate::error::{Error, Result};
use serde::Serialize;

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

/// An open device.
pub struct Gpu {
    info: DeviceInfo,
}

impl Gpu {
    /// Every adapter there is; empty where there is none.
    pub async fn adapters() -> Vec<DeviceInfo> {
        Vec::new()
    }

    /// Opens the adapter whose index or part of whose name is `choice`; none means the fastest kind there is.
    pub async fn open(choice: Option<&str>) -> Result<Self> {
        let _ = choice;
        Err(Error::unsupported("no GPU adapter found"))
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }
}
