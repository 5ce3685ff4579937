//! File formats: values against PyPI's `gguf`, planes against blocks, and a refusal for every malformed file.

mod gguf;
mod models;
mod safetensors;

use proptest::prelude::*;
use std::rc::Rc;
use trice::format::planes::{self, PlaneLayout, ROW_STEP};
use trice::format::{Checkpoint, DType, blocks};
use trice::hub::ModelFiles;
use trice::source::{MemorySource, Source};
use trice::{Error, Result};

/// Opens files given as bytes.
fn open(weights: Vec<Vec<u8>>, side: &[(&str, &str)]) -> Result<Checkpoint> {
    let memory = |name: &str, bytes: Vec<u8>| Rc::new(MemorySource::new(name, bytes)) as Rc<dyn Source>;
    pollster::block_on(Checkpoint::open(ModelFiles {
        name: "model".to_owned(),
        weights: weights.into_iter().enumerate().map(|(i, bytes)| memory(&format!("file {i}"), bytes)).collect(),
        side: side.iter().map(|(name, text)| (name.to_string(), memory(name, text.as_bytes().to_vec()))).collect(),
    }))
}

/// Opens one file given as bytes.
fn open_one(bytes: &[u8]) -> Result<Checkpoint> {
    open(vec![bytes.to_vec()], &[])
}

/// Opens a file and reads every tensor, as a load would.
fn open_and_read(bytes: &[u8]) -> Result<()> {
    let checkpoint = open_one(bytes)?;
    for tensor in checkpoint.tensors() {
        let rows = pollster::block_on(checkpoint.read_rows(tensor, 0, tensor.rows()))?;
        assert_eq!(rows.len() as u64, tensor.n_bytes);
        assert_eq!(blocks::dequantize(tensor.dtype, &rows).len() as u64, tensor.rows() * tensor.cols());
    }
    Ok(())
}

/// Asserts that each file is refused as malformed or not supported, in words that hold `fragment`.
fn assert_refused(files: Vec<(&str, Vec<u8>, &str)>) {
    let n = files.len();
    let mut wrong = Vec::new();
    for (name, bytes, fragment) in files {
        match open_and_read(&bytes) {
            Err(error @ (Error::Format { .. } | Error::Unsupported { .. })) if error.to_string().contains(fragment) => {
            }
            Err(error) => wrong.push(format!("{name}: {fragment:?} wanted, found {error}")),
            Ok(()) => wrong.push(format!("{name}: accepted")),
        }
    }
    println!("{}/{n} refused", n - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One change to a file: where (as a fraction of its length), and what.
#[derive(Clone, Debug)]
enum Mutation {
    Byte(f64, u8),
    Number(f64, u64),
    Cut(f64),
    Double(f64, usize),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let extremes = prop::sample::select(vec![0, 1, 2, 31, 32, 255, 1 << 31, 1 << 32, 1 << 61, 1 << 63, u64::MAX]);
    prop_oneof![
        4 => (0.0..1.0, any::<u8>()).prop_map(|(at, value)| Mutation::Byte(at, value)),
        4 => (0.0..1.0, extremes).prop_map(|(at, value)| Mutation::Number(at, value)),
        1 => (0.0..1.0).prop_map(Mutation::Cut),
        1 => (0.0..1.0, 1usize..64).prop_map(|(at, len)| Mutation::Double(at, len)),
    ]
}

fn mutate(file: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut out = file.to_vec();
    for mutation in mutations {
        let (Mutation::Byte(at, _) | Mutation::Number(at, _) | Mutation::Cut(at) | Mutation::Double(at, _)) = *mutation;
        let at = (out.len() as f64 * at) as usize;
        match *mutation {
            Mutation::Byte(_, value) => out[at..].iter_mut().take(1).for_each(|byte| *byte = value),
            Mutation::Number(_, value) => {
                out[at..].iter_mut().zip(value.to_le_bytes()).for_each(|(byte, value)| *byte = value);
            }
            Mutation::Cut(_) => out.truncate(at),
            Mutation::Double(_, len) => {
                let copy = out[at..(at + len).min(out.len())].to_vec();
                out.splice(at..at, copy);
            }
        }
    }
    out
}

const TYPES: &[u8] = include_bytes!("../golden/gguf_types.gguf");
const TYPES_DECODED: &[u8] = include_bytes!("../golden/gguf_types.f32");
const ORDER: [&str; 10] = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"];

/// The fixture's tensors: type, file bytes, what PyPI's `gguf` decodes them to.
fn fixture() -> Vec<(DType, Vec<u8>, Vec<f32>)> {
    let checkpoint = open_one(TYPES).unwrap();
    let decoded: Vec<f32> =
        TYPES_DECODED.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(checkpoint.tensors().count(), ORDER.len());
    let read = |(name, decoded): (&&str, &[f32])| {
        let tensor = checkpoint.tensor(name).unwrap();
        assert_eq!((tensor.dtype.name(), tensor.shape.as_slice()), (*name, &[5, 512][..]));
        let bytes = pollster::block_on(checkpoint.read_rows(tensor, 0, 5)).unwrap();
        (tensor.dtype, bytes, decoded.to_vec())
    };
    ORDER.iter().zip(decoded.chunks_exact(5 * 512)).map(read).collect()
}

fn bits(weights: &[f32]) -> Vec<u32> {
    weights.iter().map(|weight| weight.to_bits()).collect()
}

#[test]
fn blocks_decode_as_gguf_py_does() {
    for (dtype, bytes, decoded) in fixture() {
        assert_eq!(bits(&blocks::dequantize(dtype, &bytes)), bits(&decoded), "{}", dtype.name());
    }
}

#[test]
fn blocks_are_quantized_as_gguf_py_does() {
    let fixture = fixture();
    let weights = &fixture[0].2;
    for (dtype, bytes, _) in &fixture {
        match blocks::quantize(*dtype, weights) {
            Ok(ours) => assert_eq!(&ours, bytes, "{}", dtype.name()),
            Err(error) => {
                assert!(dtype.name().ends_with("_K") && matches!(error, Error::Unsupported { .. }), "{error}")
            }
        }
    }
}

/// Uploads `bytes` as the engine does, `step` rows at a time.
fn pack(layout: &PlaneLayout, bytes: &[u8], step: u64) -> Vec<u8> {
    let row_bytes = layout.dtype.row_bytes(layout.cols).unwrap() as usize;
    let mut buffer = vec![0; layout.n_bytes() as usize];
    for first_row in (0..layout.rows).step_by(step as usize) {
        let n_rows = step.min(layout.rows - first_row) as usize;
        let rows = &bytes[first_row as usize * row_bytes..][..n_rows * row_bytes];
        let parts = planes::repack(layout.dtype, layout.cols, rows).unwrap();
        assert_eq!(parts.len(), layout.n_planes());
        for (part, offset) in parts.iter().zip(layout.chunk(first_row)) {
            assert!(offset.is_multiple_of(16) && part.len().is_multiple_of(16));
            buffer[offset as usize..][..part.len()].copy_from_slice(part);
        }
    }
    buffer
}

fn any_matrix() -> impl Strategy<Value = (DType, u64, u64, u64)> {
    let dtypes: Vec<DType> = DType::all().collect();
    (prop::sample::select(dtypes), 1u64..40, 1u64..5, 1u64..4, any::<u64>()).prop_map(
        |(dtype, rows, blocks, steps, seed)| {
            let block = dtype.block_len() as u64;
            let cols = if block == 1 { blocks * 37 % 150 + 1 } else { blocks * block };
            (dtype, rows, cols, steps * ROW_STEP ^ seed << 32)
        },
    )
}

/// Pseudo-random file bytes whose floats are all numbers.
fn file_bytes(dtype: DType, n_weights: u64, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let n_blocks = n_weights as usize / dtype.block_len();
    if dtype.block_len() == 1 {
        let weights: Vec<f32> = (0..n_blocks).map(|_| random() as f32 / 1e9 - 1.0).collect();
        return blocks::quantize(dtype, &weights).unwrap();
    }
    let scales: &[usize] = match dtype {
        DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q6_K => &[208],
        _ => &[0],
    };
    let mut out: Vec<u8> = (0..n_blocks * dtype.block_bytes()).map(|_| random() as u8).collect();
    for block in out.chunks_exact_mut(dtype.block_bytes()) {
        for &at in scales {
            block[at + 1] = block[at + 1] & 0x83 | 0x20;
        }
    }
    out
}

proptest! {
    #[test]
    fn planes_hold_the_same_weights((dtype, rows, cols, step_and_seed) in any_matrix()) {
        let (step, seed) = (step_and_seed & 0xffff_ffff, step_and_seed >> 32);
        let bytes = file_bytes(dtype, rows * cols, seed);
        let wanted = bits(&blocks::dequantize(dtype, &bytes));
        let layout = PlaneLayout::new(dtype, rows, cols).unwrap();
        for step in [step, rows.next_multiple_of(ROW_STEP)] {
            let buffer = pack(&layout, &bytes, step);
            prop_assert_eq!(bits(&planes::unpack(&layout, &buffer)), wanted.clone());
        }
    }
}
