//! Opening a device with the shaders that are fastest on it: measured once, kept in the cache folder, unless `--variant`
//! forces others. What the driver compiles is kept there, too.

use std::path::PathBuf;
use trice::Error;
use trice::gpu::{Choices, DeviceInfo, Gpu, Math};
use trice::hub;
use trice::kernels::tune::{Tunings, tune};

/// Where the choices of all devices are kept; none where the environment names no folder.
fn file() -> Option<PathBuf> {
    Some(hub::cache_folder().ok()?.join("tunings.json"))
}

fn read() -> Tunings {
    let text = file().and_then(|file| std::fs::read_to_string(file).ok());
    text.map_or_else(Tunings::default, |text| Tunings::from_json(&text))
}

/// Keeps what was measured; without a folder it is measured again next time, which costs a second and no answer.
fn keep(device: &DeviceInfo, choices: Choices) {
    let mut tunings = read();
    tunings.keep(device, choices);
    let written = file().map(|file| hub::write_file(&file, tunings.to_json().as_bytes()));
    if let Some(Err(error)) = written {
        tracing::warn!("the choice of shaders is not kept: {error}");
    }
}

/// Opens the device that `device` names, with the fastest shaders, and those that `variants` force.
pub(crate) async fn open_gpu(device: Option<&str>, variants: &[String]) -> trice::Result<Gpu> {
    let mut forced = Choices::default();
    variants.iter().try_for_each(|assignment| forced.set(assignment))?;
    let gpu = Gpu::open(device).await?;
    let mut choices = fastest(&gpu).await?;
    variants.iter().try_for_each(|assignment| choices.set(assignment))?;
    if choices.math == Math::F16 && !gpu.caps().f16 {
        return Err(Error::unsupported(format!("math=f16: shaders on {} have no 16-bit floats", gpu.info().name)));
    }
    gpu.choose(choices);
    keep_pipelines(&gpu);
    Ok(gpu)
}

/// Keeps compiled shaders between runs; without a folder they are compiled again, which costs seconds and no answer.
fn keep_pipelines(gpu: &Gpu) {
    let (Some(name), Ok(folder)) = (gpu.pipelines_file(), hub::cache_folder()) else { return };
    let file = folder.join("pipelines").join(name);
    let kept = std::fs::read(&file).ok();
    gpu.keep_pipelines(kept.as_deref(), move |bytes| {
        if let Err(error) = hub::write_file(&file, bytes) {
            tracing::debug!("compiled shaders are not kept: {error}");
        }
    });
}

/// What is fastest on `gpu`: as it was measured before, or measured now.
pub(crate) async fn fastest(gpu: &Gpu) -> trice::Result<Choices> {
    if let Some(known) = read().of(gpu.info()) {
        return Ok(known);
    }
    let choices = tune(gpu).await?;
    keep(gpu.info(), choices);
    Ok(choices)
}
