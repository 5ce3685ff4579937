//! Random blocks as a pure function of (seed, tensor, block): bits at will, with small valid scales, so that values
//! have a standard deviation near 0.02.

use crate::error::Result;
use crate::format::DType;
use crate::source::{LocalFuture, Source, check_range};
use half::{bf16, f16};

const SEED: u64 = 0;
/// The longest block of all types.
const MAX_BLOCK_BYTES: usize = 210;

/// What a tensor holds.
#[derive(Clone, Copy)]
pub(super) enum Fill {
    /// F32 of one value: norms and biases.
    Constant(f32),
    /// Random weights.
    Random,
}

struct Region {
    start: u64,
    end: u64,
    dtype: DType,
    fill: Fill,
    seed: u64,
}

/// A file that is made where it is read.
pub(super) struct RandomSource {
    name: String,
    /// One after the other, without gaps.
    regions: Vec<Region>,
}

impl RandomSource {
    pub(super) fn new(name: String) -> Self {
        Self { name, regions: Vec::new() }
    }

    /// Appends a tensor of `n_bytes` and tells its offset.
    pub(super) fn add(&mut self, dtype: DType, fill: Fill, n_bytes: u64) -> u64 {
        let start = self.len();
        let seed = mix(SEED ^ mix(self.regions.len() as u64));
        self.regions.push(Region { start, end: start + n_bytes, dtype, fill, seed });
        start
    }
}

impl Source for RandomSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.regions.last().map_or(0, |region| region.end)
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            check_range(self, offset, len)?;
            let end = offset + len as u64;
            let mut out = Vec::with_capacity(len);
            let first = self.regions.partition_point(|region| region.end <= offset);
            for region in self.regions[first..].iter().take_while(|region| region.start < end) {
                let from = offset.max(region.start) - region.start;
                let to = end.min(region.end) - region.start;
                region.write(from, to, &mut out);
            }
            Ok(out)
        })
    }
}

impl Region {
    /// Appends bytes `from..to` of the tensor.
    fn write(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        let size = self.dtype.block_bytes() as u64;
        let mut block = [0; MAX_BLOCK_BYTES];
        let block = &mut block[..size as usize];
        for index in from / size..to.div_ceil(size) {
            match self.fill {
                Fill::Constant(value) => block.copy_from_slice(&value.to_le_bytes()),
                Fill::Random => random_block(self.dtype, mix(self.seed ^ index), block),
            }
            let start = index * size;
            let (first, last) = (from.saturating_sub(start), (to - start).min(size));
            out.extend_from_slice(&block[first as usize..last as usize]);
        }
    }
}

/// SplitMix64's finalizer: a hash of good quality in five operations.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Nearly normal with standard deviation 0.02: the sum of four uniform numbers of 16 bits.
fn random_weight(seed: u64) -> f32 {
    let sum: u32 = (0..4).map(|i| (seed >> (16 * i) & 0xffff) as u32).sum();
    // Four times the variance 65535^2 / 12 has this root.
    (sum as f32 - 2.0 * 65_535.0) * (0.02 / 37_837.0)
}

fn random_block(dtype: DType, seed: u64, block: &mut [u8]) {
    match dtype {
        DType::F32 => return block.copy_from_slice(&random_weight(seed).to_le_bytes()),
        DType::F16 => return block.copy_from_slice(&f16::from_f32(random_weight(seed)).to_le_bytes()),
        DType::BF16 => return block.copy_from_slice(&bf16::from_f32(random_weight(seed)).to_le_bytes()),
        _ => {}
    }
    for (i, bytes) in block.chunks_mut(8).enumerate() {
        bytes.copy_from_slice(&mix(seed.wrapping_add(i as u64)).to_le_bytes()[..bytes.len()]);
    }
    let mut scale = |at: usize, value: f32| block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => {}
        DType::Q8_0 => scale(0, 0.000_27),
        DType::Q4_0 => scale(0, 0.0043),
        DType::Q4_1 => {
            scale(0, 0.0043);
            scale(2, -7.5 * 0.0043);
        }
        DType::Q5_0 => scale(0, 0.0022),
        DType::Q5_1 => {
            scale(0, 0.0022);
            scale(2, -15.5 * 0.0022);
        }
        DType::Q2_K => {
            scale(80, 1.44e-3);
            scale(82, 2.16e-3);
        }
        DType::Q3_K => scale(108, 4.6e-4),
        DType::Q4_K => {
            scale(0, 1.4e-4);
            scale(2, 1.05e-3);
        }
        DType::Q5_K => {
            scale(0, 0.7e-4);
            scale(2, 1.05e-3);
        }
        DType::Q6_K => scale(208, 1.5e-5),
        DType::IQ4_NL => scale(0, 3.0e-4),
        DType::IQ4_XS => scale(0, 1.6e-5),
        // 2⁻⁸ for codes of a spread near 6.
        DType::MXFP4 => block[0] = 120,
    }
}
