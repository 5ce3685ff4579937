//! Compiled shaders kept between runs, natively where the driver hands them out. The bytes are the driver's own; what is
//! written here makes sure that they come back as they went. Holds no files: where they lie is the host's affair.

use super::Gpu;
use sha2::{Digest, Sha256};
use std::cell::Cell;

/// Bytes of a checksum.
const SUM: usize = 32;

type Keep = Box<dyn Fn(&[u8])>;

/// The driver's cache, and who keeps what is new in it.
pub(super) struct Kept {
    pub(super) cache: wgpu::PipelineCache,
    /// The device and versions that its bytes are for.
    key: String,
    keep: Keep,
    /// The sum of what it held last.
    sum: Cell<[u8; SUM]>,
}

impl Gpu {
    /// Names a file for this kind of device's compiled shaders; none where there is nothing to keep.
    pub fn pipelines_file(&self) -> Option<String> {
        let name = wgpu::util::pipeline_cache_key(&self.device.adapter_info())?;
        self.device.features().contains(wgpu::Features::PIPELINE_CACHE).then(|| format!("{name}.bin"))
    }

    /// Compiles faster by what an earlier run has kept; whatever is not that, as it was written, is ignored. `keep` hears
    /// of the bytes to be kept from now on.
    pub fn keep_pipelines(&self, kept: Option<&[u8]>, keep: impl Fn(&[u8]) + 'static) {
        let Some(name) = self.pipelines_file() else { return };
        let key = format!("{name} | {} | {} | trice {}", self.info.name, self.info.driver, env!("CARGO_PKG_VERSION"));
        let cache = make(&self.device, kept.and_then(|kept| open(&key, kept)));
        // Software drivers give no more after compiling than before: then there is nothing to keep.
        let sum = Cell::new(sum(&key, &cache.get_data().unwrap_or_default()));
        // The first call counts: programs may have been made with its cache.
        let _ = self.kept.set(Kept { cache, key, keep: Box::new(keep), sum });
    }

    /// Hands over what the driver has compiled, where that is more than before.
    pub(super) fn offer_pipelines(&self) {
        let Some(kept) = self.kept.get() else { return };
        let Some(data) = kept.cache.get_data() else { return };
        let sum = sum(&kept.key, &data);
        if kept.sum.replace(sum) != sum {
            (kept.keep)(&[&sum, data.as_slice()].concat());
        }
    }
}

#[expect(unsafe_code, reason = "data is the driver's own, by its checksum")]
fn make(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("shaders kept"), data, fallback: true };
    // SAFETY: `data` must come from `get_data` of such an adapter. `open` has found it to be what `offer_pipelines` wrote, for
    // this device, driver and version: it is that, unless somebody who may write to the user's cache folder forged it.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

fn sum(key: &str, data: &[u8]) -> [u8; SUM] {
    Sha256::new().chain_update(key).chain_update([0]).chain_update(data).finalize().into()
}

/// The driver's bytes of a file that was written whole, under this key.
fn open<'a>(key: &str, kept: &'a [u8]) -> Option<&'a [u8]> {
    let (found, data) = kept.split_first_chunk::<SUM>()?;
    (*found == sum(key, data)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_whole_under_the_same_key_is_opened() {
        let file = [&sum("a GPU", b"pipelines"), b"pipelines".as_slice()].concat();
        assert_eq!(open("a GPU", &file), Some(b"pipelines".as_slice()));
        assert_eq!(open("another GPU", &file), None);
        for n in 0..file.len() {
            assert_eq!(open("a GPU", &file[..n]), None, "{n} bytes of it");
            let mut flipped = file.clone();
            flipped[n] ^= 1;
            assert_eq!(open("a GPU", &flipped), None, "byte {n} flipped");
        }
        assert_eq!(open("a GPU", &[file.as_slice(), b"more"].concat()), None);
    }
}
