//! Malformed safetensors files, shards, and files of other kinds.

use super::{any_mutation, assert_refused, mutate, open, open_and_read, open_one};
use proptest::prelude::*;

/// A file from its JSON and a number of data bytes.
fn file(header: &str, n_data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + n_data, 0);
    out
}

/// One tensor's description.
fn tensor(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

/// A file with one tensor.
fn one(dtype: &str, shape: &str, offsets: &str, n_data: usize) -> Vec<u8> {
    file(&format!("{{{}}}", tensor("t", dtype, shape, offsets)), n_data)
}

fn two(a: (&str, &str, &str), b: (&str, &str, &str), n_data: usize) -> Vec<u8> {
    file(&format!("{{{},{}}}", tensor(a.0, "F32", a.1, a.2), tensor(b.0, "F32", b.1, b.2)), n_data)
}

fn malformed() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let cut = |mut bytes: Vec<u8>| {
        bytes.pop();
        bytes
    };
    let with_length = |length: u64, rest: &[u8]| [&length.to_le_bytes()[..], rest].concat();
    vec![
        ("empty", vec![], "empty"),
        ("seven bytes", vec![0; 7], "zeros"),
        ("length 2^64 - 1", vec![0xff; 8], "wanted"),
        ("length past the limit", with_length(100_000_001, b"{"), "100000000"),
        ("length past the end", with_length(200, b"{}"), "found 200"),
        ("not UTF-8", with_length(2, b"\xff\xfe"), "wanted"),
        ("not UTF-8 within", with_length(5, b"{\"\xff\":"), "header"),
        ("not JSON", file("{oops}", 0), "header"),
        ("an array", file("[]", 0), "wanted"),
        ("JSON 100,000 deep", file(&("{\"a\":".to_owned() + &"[".repeat(100_000)), 0), "header"),
        ("a tensor twice", two(("t", "[1]", "[0,4]"), ("t", "[1]", "[4,8]"), 8), "offset"),
        ("metadata of numbers", file(r#"{"__metadata__":{"a":1}}"#, 0), "string"),
        ("metadata nested", file(r#"{"__metadata__":{"a":{"b":"c"}}}"#, 0), "string"),
        ("unknown type", one("F33", "[2]", "[0,8]", 8), "F33"),
        ("size and shape differ", one("F32", "[3]", "[0,8]", 8), "shape"),
        ("ends before it begins", one("F32", "[2]", "[8,0]", 8), "offset"),
        ("past the end", one("F32", "[2]", "[8,16]", 8), "offset"),
        ("gap at the start", one("F32", "[1]", "[4,8]", 8), "offset"),
        ("bytes left over", one("F32", "[1]", "[0,4]", 8), "4 bytes of tensors wanted"),
        ("overlap", two(("a", "[2]", "[0,8]"), ("b", "[1]", "[4,8]"), 8), "offset"),
        ("shape wraps", one("F32", "[4294967296,4294967296]", "[0,0]", 0), "overflow"),
        ("shape wraps behind a zero", one("F32", "[0,4294967296,4294967296]", "[0,0]", 0), "overflow"),
        ("bytes wrap", one("F64", "[2305843009213693952]", "[0,0]", 0), "overflow"),
        ("negative dimension", one("F32", "[-1]", "[0,4]", 4), "header"),
        ("fractional dimension", one("F32", "[1.5]", "[0,4]", 4), "header"),
        ("dimension 2^65", one("F32", "[36893488147419103232]", "[0,4]", 4), "header"),
        ("one byte short", cut(one("F32", "[2]", "[0,8]", 8)), "8 bytes of tensors wanted"),
        ("missing field", file(r#"{"t":{"dtype":"F32","shape":[1]}}"#, 4), "data_offsets"),
        ("half a byte of F4", one("F4", "[3]", "[0,2]", 2), "header"),
        ("weights of 8-bit floats", one("F8_E4M3", "[4]", "[0,4]", 4), "F8_E4M3"),
        (
            "two names for one tensor",
            two(("bert.pooler.dense.bias", "[1]", "[0,4]"), ("pooler.dense.bias", "[1]", "[4,8]"), 8),
            "twice",
        ),
    ]
}

#[test]
fn refuses_malformed_files() {
    assert_refused(malformed());
}

/// The library reads these two although they are not what a writer writes; nothing in them can hurt.
#[test]
fn tolerates_a_leading_space_and_an_extra_field() {
    let extra = file(r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4);
    assert!(open_one(&extra).is_ok());
    // Without "{" as the ninth byte this is not told from noise.
    assert!(open_one(&file(" {}", 0)).is_err());
}

#[test]
fn accepts_edge_cases() {
    let scalar = open_one(&one("F32", "[]", "[0,4]", 4)).unwrap();
    assert_eq!((scalar.n_params(), scalar.tensor("t").unwrap().rows()), (1, 1));
    assert_eq!(open_one(&file("{}", 0)).unwrap().tensors().count(), 0);
    let metadata = open_one(&file(r#"{"__metadata__":{"labels":"a,b"}}"#, 0)).unwrap();
    assert_eq!(metadata.safetensors_metadata()["labels"], "a,b");
    let buffer = file(&format!("{{{}}}", tensor("embeddings.position_ids", "I64", "[1,2]", "[0,16]")), 16);
    assert_eq!(open_one(&buffer).unwrap().tensors().count(), 0);
}

#[test]
fn refuses_integer_weights() {
    let packed = file(&format!("{{{}}}", tensor("model.layers.0.mlp.up_proj.qweight", "I32", "[1]", "[0,4]")), 4);
    assert_refused(vec![("packed integers", packed, "up_proj.qweight of type I32")]);
}

#[test]
fn says_what_else_a_file_is() {
    assert_refused(vec![
        ("zip", b"PK\x03\x04aaaaaaaa".to_vec(), "ZIP"),
        ("pickle", b"\x80\x02aaaaaaaaaa".to_vec(), "pickle"),
        ("web page", b"<!DOCTYPE html><html>".to_vec(), "web page"),
        ("JSON", br#"{"error":"not found"}"#.to_vec(), "JSON"),
        ("LFS pointer", b"version https://git-lfs.github.com/spec/v1".to_vec(), "LFS"),
        ("old llama.cpp", b"tjgg\x03\0\0\0aaaa".to_vec(), "before GGUF"),
        ("unfinished", vec![0; 100], "zeros"),
        ("noise", b"\x01\x02\x03\x04\x05\x06\x07\x08\x09".to_vec(), "01"),
    ]);
}

fn shards() -> Vec<Vec<u8>> {
    ["model.norm.weight", "lm_head.weight"]
        .map(|name| file(&format!("{{{}}}", tensor(name, "F32", "[1]", "[0,4]")), 4))
        .to_vec()
}

#[test]
fn joins_shards_and_holds_them_against_the_index() {
    let index = r#"{"weight_map":{"model.norm.weight":"a.safetensors","lm_head.weight":"b.safetensors"}}"#;
    let side = [("model.safetensors.index.json", index), ("config.json", r#"{"model_type":"llama"}"#)];
    let checkpoint = open(shards(), &side).unwrap();
    assert_eq!(checkpoint.tensor("output.weight").unwrap().file, 1);
    assert_eq!(pollster::block_on(checkpoint.read_f32("output.weight")).unwrap(), [0.0]);

    let missing = open(shards()[..1].to_vec(), &side).err().unwrap().to_string();
    assert!(missing.contains("lm_head.weight") && missing.contains("b.safetensors"), "{missing}");
    let twice = open(vec![shards()[0].clone(), shards()[0].clone()], &[]).err().unwrap().to_string();
    assert!(twice.contains("output_norm.weight stands twice"), "{twice}");
    for broken in ["[]", "{", r#"{"weight_map":[]}"#] {
        let error = open(shards(), &[("model.safetensors.index.json", broken)]).err().unwrap().to_string();
        assert!(error.starts_with("model.safetensors.index.json"), "{error}");
    }
    let error = open(shards(), &[("config.json", "{oops}")]).err().unwrap().to_string();
    assert!(error.starts_with("config.json"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn mutated_files_never_panic(mutations in prop::collection::vec(any_mutation(), 1..4)) {
        let good = two(("a", "[2,3]", "[0,24]"), ("model.norm.weight", "[2]", "[24,32]"), 32);
        let _ = open_and_read(&mutate(&good, &mutations));
    }
}
