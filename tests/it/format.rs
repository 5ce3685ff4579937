//! File formats: values against PyPI's `gguf`, planes against blocks, and a refusal for every malformed file.

mod gguf;
mod models;
mod planes;
mod rounding;
mod safetensors;

use proptest::prelude::*;
use std::rc::Rc;
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

/// The fixture's tensors: type, file bytes, what PyPI's `gguf` decodes them to.
fn fixture() -> Vec<(DType, Vec<u8>, Vec<f32>)> {
    let checkpoint = open_one(TYPES).unwrap();
    let decoded: Vec<f32> =
        TYPES_DECODED.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(checkpoint.tensors().count(), DType::all().count());
    let read = |(dtype, decoded): (DType, &[f32])| {
        let tensor = checkpoint.tensor(dtype.name()).unwrap();
        assert_eq!((tensor.dtype, tensor.shape.as_slice()), (dtype, &[5, 512][..]));
        let bytes = pollster::block_on(checkpoint.read_rows(tensor, 0, 5)).unwrap();
        (tensor.dtype, bytes, decoded.to_vec())
    };
    DType::all().zip(decoded.chunks_exact(5 * 512)).map(read).collect()
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
        let has_reference = dtype.is_float() || matches!(dtype.name(), "Q8_0" | "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1");
        match blocks::quantize(*dtype, weights, None) {
            Ok(ours) if has_reference => assert_eq!(&ours, bytes, "{}", dtype.name()),
            Ok(ours) => assert_eq!(ours.len(), bytes.len(), "{}", dtype.name()),
            Err(error) => {
                let is_read_only = matches!(dtype, DType::IQ4_NL | DType::IQ4_XS | DType::MXFP4);
                assert!(is_read_only && matches!(error, Error::Unsupported { .. }), "{error}");
            }
        }
    }
}
