//! `trice devices`: the adapters, and what each can do.

use super::context::{Context, Output, human_bytes};
use serde::Serialize;
use trice::gpu::{DeviceInfo, Gpu};

/// What `devices --json` prints.
#[derive(Serialize)]
struct Devices<'a> {
    devices: &'a [DeviceInfo],
}

pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    let devices = pollster::block_on(Gpu::adapters());
    if context.output == Output::Json {
        return context.print_json(&Devices { devices: &devices });
    }
    if devices.is_empty() {
        let what = "no GPU adapter found; on Debian-like systems install mesa-vulkan-drivers";
        return Err(trice::Error::unsupported(what).into());
    }
    for device in &devices {
        print(context, device)?;
    }
    Ok(())
}

fn print(context: &Context, device: &DeviceInfo) -> anyhow::Result<()> {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let (smallest, largest) = device.subgroup_size;
    let subgroups = if device.subgroups { format!("{smallest} to {largest} lanes") } else { "no".to_string() };
    context.print(&format!("{}  {} ({}, {})", device.index, device.name, device.backend, device.kind))?;
    context.print(&format!("   driver            {}", device.driver))?;
    context.print(&format!("   16-bit floats     {}", yes_no(device.f16)))?;
    context.print(&format!("   subgroups         {subgroups}"))?;
    context.print(&format!("   largest binding   {}", human_bytes(device.max_binding_bytes)))?;
    context.print(&format!("   largest buffer    {}", human_bytes(device.max_buffer_bytes)))?;
    context.print(&format!("   workgroup memory  {}", human_bytes(u64::from(device.max_workgroup_bytes))))?;
    context.print(&format!("   storage buffers   {} per shader", device.max_storage_buffers))
}
