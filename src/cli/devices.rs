//! `trice devices`: the adapters, what each can do, and how fast it is at best.

use super::args::DevicesArgs;
use super::context::{Context, Output, human_bytes};
use super::progress::Bar;
use super::tuned::{fastest, open_gpu};
use serde::Serialize;
use trice::gpu::{Choices, DeviceInfo, Gpu, Math};
use trice::measure::roofs::Roof;
use trice::measure::{Checked, Roofs, check};

/// What `devices --json` prints.
#[derive(Serialize)]
struct Devices {
    devices: Vec<Device>,
}

/// An adapter with its roofs, where they were measured.
#[derive(Serialize)]
struct Device {
    #[serde(flatten)]
    info: DeviceInfo,
    roofs: Option<Roofs>,
    /// The shaders that are fastest on it.
    choices: Option<Choices>,
    /// What it makes of every type of weights, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Checked>>,
}

pub(crate) fn run(context: &Context, args: &DevicesArgs) -> anyhow::Result<()> {
    let infos = pollster::block_on(Gpu::adapters());
    if infos.is_empty() && context.output == Output::Text {
        let what = "no GPU adapter found; on Debian-like systems install mesa-vulkan-drivers";
        return Err(trice::Error::unsupported(what).into());
    }
    let bar = Bar::new(context);
    let n = infos.len() as u64;
    let device = |info: DeviceInfo| {
        bar.count("Measuring", info.index as u64, n);
        let (roofs, choices) = if args.no_measure { (None, None) } else { pollster::block_on(measure(&info)) };
        let checks = if args.check { Some(pollster::block_on(checked(&info))?) } else { None };
        anyhow::Ok(Device { info, roofs, choices, checks })
    };
    let devices = infos.into_iter().map(device).collect::<anyhow::Result<Vec<Device>>>()?;
    drop(bar);
    let wrong = devices.iter().find(|device| device.checks.iter().flatten().any(|checked| !checked.is_right));
    let wrong = wrong.map(|device| device.info.name.clone());
    match context.output {
        Output::Json => context.print_json(&Devices { devices })?,
        Output::Text => devices.iter().try_for_each(|device| print(context, device))?,
    }
    wrong.map_or(Ok(()), |name| Err(anyhow::anyhow!("{name} computes wrong products; another driver may help")))
}

/// What an adapter, with the shaders that it would run models with, makes of every type of weights.
async fn checked(info: &DeviceInfo) -> anyhow::Result<Vec<Checked>> {
    let gpu = open_gpu(Some(&info.index.to_string()), &[]).await?;
    Ok(check(&gpu, &mut |_, _| {}).await?)
}

/// The roofs of an adapter and its fastest shaders; one that does not open has none and says why.
async fn measure(info: &DeviceInfo) -> (Option<Roofs>, Option<Choices>) {
    let failed = |error: trice::Error| Roofs { failures: vec![error.to_string()], ..Roofs::default() };
    let gpu = match Gpu::open(Some(&info.index.to_string())).await {
        Ok(gpu) => gpu,
        Err(error) => return (Some(failed(error)), None),
    };
    let mut roofs = Roofs::measure(&gpu).await;
    let choices = fastest(&gpu).await.inspect_err(|error| roofs.failures.push(error.to_string())).ok();
    (Some(roofs), choices)
}

fn print(context: &Context, device: &Device) -> anyhow::Result<()> {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let info = &device.info;
    let (smallest, largest) = info.subgroup_size;
    let subgroups = if info.subgroups { format!("{smallest} to {largest} lanes") } else { "no".to_string() };
    context.print(&format!("{}  {} ({}, {})", info.index, info.name, info.backend, info.kind))?;
    context.print(&format!("   driver            {}", info.driver))?;
    context.print(&format!("   16-bit floats     {}", yes_no(info.f16)))?;
    context.print(&format!("   subgroups         {subgroups}"))?;
    context.print(&format!("   timestamps        {}", yes_no(info.timestamps)))?;
    context.print(&format!("   largest binding   {}", human_bytes(info.max_binding_bytes)))?;
    context.print(&format!("   largest buffer    {}", human_bytes(info.max_buffer_bytes)))?;
    context.print(&format!("   workgroup memory  {}", human_bytes(u64::from(info.max_workgroup_bytes))))?;
    context.print(&format!("   storage buffers   {} per shader", info.max_storage_buffers))?;
    if let Some(choices) = device.choices {
        context.print(&format!("   fastest shaders   {choices}"))?;
    }
    device.checks.as_ref().map_or(Ok(()), |checks| print_checks(context, checks))?;
    device.roofs.as_ref().map_or(Ok(()), |roofs| print_roofs(context, roofs))
}

/// The largest error of each kind of product, and a line for every wrong one.
fn print_checks(context: &Context, checks: &[Checked]) -> anyhow::Result<()> {
    for math in [Math::F32, Math::F16] {
        let of_it = || checks.iter().filter(|checked| checked.math == math);
        let n = of_it().filter(|checked| checked.is_right).count();
        let Some(worst) = of_it().filter_map(|checked| checked.nmse).reduce(f64::max) else { continue };
        let right = format!("{n} of {} right, NMSE to {worst:.1e}", of_it().count());
        context.print(&format!("   products in {}   {right}", math.name()))?;
    }
    let wrong = checks.iter().filter(|checked| !checked.is_right);
    wrong.into_iter().try_for_each(|Checked { dtype, math, n_columns, nmse, .. }| {
        let nmse = nmse.map_or("no numbers".to_owned(), |nmse| format!("NMSE {nmse:.1e}"));
        context.print(&format!("   wrong             {dtype} by {n_columns} columns in {}: {nmse}", math.name()))
    })
}

/// A line for every figure there is, and one for every failure.
fn print_roofs(context: &Context, roofs: &Roofs) -> anyhow::Result<()> {
    for (what, figure, unit) in [
        ("reads           ", roofs.read_gbytes_per_s, "GB/s"),
        ("computes, f32   ", roofs.f32_gflops, "GFLOP/s"),
        ("computes, f16   ", roofs.f16_gflops, "GFLOP/s"),
        ("computes, int8  ", roofs.dot8_gops, "GOP/s (dot4I8Packed)"),
        ("empty dispatch  ", roofs.dispatch_us, "µs"),
        ("read-back       ", roofs.read_back_us, "µs"),
    ] {
        if let Some(figure) = figure {
            context.print(&format!("   {what}  {figure:.1} {unit}"))?;
        }
    }
    roofs.failures.iter().try_for_each(|failure| context.print(&format!("   not measured      {failure}")))
}

/// The roofs that a model's work is compared with, in a line.
pub(super) fn roofs_line(roofs: &Roofs) -> String {
    let figure = |value: Option<f64>, unit: &str| value.map_or("?".to_owned(), |value| format!("{value:.1} {unit}"));
    let (read, f32) = (figure(roofs.read_gbytes_per_s, "GB/s"), figure(roofs.f32_gflops, "GFLOP/s"));
    format!("{read} read, {f32} on 32-bit floats")
}

/// `34 % read`: how much of which roof is reached.
pub(super) fn roof_share(roof: Option<Roof>, fraction: Option<f64>) -> String {
    match (roof, fraction) {
        (Some(roof), Some(fraction)) => format!("{:.0} % {}", fraction * 100.0, roof.name()),
        _ => "-".to_owned(),
    }
}
