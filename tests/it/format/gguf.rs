//! Malformed GGUF files: one fault each, in the order of the corpus that the project's designers collected from
//! published vulnerabilities; then limits, split models and random mutations.

use super::{any_mutation, assert_refused, mutate, open, open_and_read, open_one};
use crate::common::gguf_writer::{
    ARRAY, BOOL, F64, GgufWriter, I32, RawFile, STRING, U8, U32, array, entry, string, tensor,
};
use proptest::prelude::*;
use trice::format::DType;
use trice::format::gguf::{MAX_KEY_BYTES, MAX_KEYS, MAX_NAME_BYTES, MAX_STRING_BYTES, MAX_TENSORS};

/// Type ids of the file.
const TYPE_F32: u32 = 0;
const TYPE_Q4_K: u32 = 12;
const TYPE_I8: u32 = 24;

/// A tensor of 32 zeros at the start of the data, under the name "t".
fn t() -> Vec<u8> {
    tensor("t", &[32], TYPE_F32, 0)
}

fn architecture() -> Vec<u8> {
    entry("general.architecture", STRING, &string("llama"))
}

/// A file with these metadata entries.
fn with_entries(entries: Vec<Vec<u8>>) -> Vec<u8> {
    RawFile { entries, ..RawFile::default() }.bytes()
}

/// A file with these tensors and as many bytes of data.
fn with_tensors(tensors: Vec<Vec<u8>>, n_data: usize) -> Vec<u8> {
    RawFile { tensors, data: vec![0; n_data], ..RawFile::default() }.bytes()
}

fn with_alignment(kind: u32, value: &[u8]) -> Vec<u8> {
    let entries = vec![entry("general.alignment", kind, value)];
    RawFile { entries, tensors: vec![t()], data: vec![0; 128], ..RawFile::default() }.bytes()
}

/// Name, file, and a part of the message that refuses it.
type Case = (&'static str, Vec<u8>, &'static str);

/// Makes a file with so many of something.
type MakeFile<'a> = &'a dyn Fn(u64) -> Vec<u8>;

fn bad_starts() -> Vec<Case> {
    let counts = |n_tensors, n_entries| RawFile { n_tensors, n_entries, ..RawFile::default() }.bytes();
    let version = |version| RawFile { version, ..RawFile::default() }.bytes();
    vec![
        ("00 zero bytes", vec![], "empty"),
        ("01 magic only", b"GGUF".to_vec(), "version"),
        ("02 magic FUGG", RawFile { magic: *b"FUGG", ..RawFile::default() }.bytes(), "GGUF or safetensors"),
        ("03 old magic", RawFile { magic: *b"tjgg", ..RawFile::default() }.bytes(), "before GGUF"),
        ("04 version 0", version(0), "found 0"),
        ("05 version 4", version(4), "found 4"),
        ("06 version byte-swapped", version(0x0300_0000), "big-endian"),
        ("07 2^64 - 1 tensors", counts(Some(u64::MAX), None), "tensors"),
        ("08 2^61 tensors", counts(Some(1 << 61), None), "tensors"),
        ("09 10^9 tensors", counts(Some(1_000_000_000), None), "tensors"),
        ("10 2^64 - 1 keys", counts(None, Some(u64::MAX)), "keys"),
        ("11 10^9 keys", counts(None, Some(1_000_000_000)), "keys"),
    ]
}

fn bad_metadata() -> Vec<Case> {
    let one = |entry| with_entries(vec![entry]);
    let key_of_len = |len: u64| one([&len.to_le_bytes()[..], b"k", &U8.to_le_bytes(), &[1]].concat());
    let byte = |key: &[u8]| entry(key, U8, &[1]);
    let raw = |kind: u32, value: &[u8]| with_entries(vec![entry("k", kind, value)]);
    let no_padding =
        RawFile { entries: vec![entry("k", STRING, &[&33u64.to_le_bytes()[..], b"x"].concat())], ..RawFile::default() };
    let nested: Vec<u8> = [&ARRAY.to_le_bytes()[..], &1u64.to_le_bytes()].concat().repeat(20_000);
    vec![
        ("12 key of 2^64 - 1 bytes", key_of_len(u64::MAX), "key"),
        ("13 key of 8 GiB", key_of_len(1 << 33), "key"),
        ("14 key empty", one(byte(b"")), "empty"),
        ("15 key not UTF-8", one(byte(b"\xff\xfe")), "UTF-8"),
        ("16 NUL in key", one(byte(b"a\0b")), "NUL"),
        ("17 key of 65,536 bytes", one(byte(&[b'k'; 65_536])), "65535"),
        ("18 key twice", with_entries(vec![byte(b"k"), byte(b"k")]), "twice"),
        ("19 value type 13", raw(13, &[1]), "found 13"),
        ("20 value type -1", raw(u32::MAX, &[1]), "value type"),
        ("21 truth value 2", raw(BOOL, &[2]), "found 2"),
        ("22 text of 2^64 - 1 bytes", raw(STRING, &[&u64::MAX.to_le_bytes()[..], b"x"].concat()), "k: at most"),
        ("23 text past the end", no_padding.header(), "the file ends"),
        ("24 array of 2^64 - 1", raw(ARRAY, &array(U8, u64::MAX, &[1])), "elements of k"),
        ("25 array of 10^9 texts", raw(ARRAY, &array(STRING, 1_000_000_000, &[])), "elements of k"),
        ("26 array of 2^61 doubles", raw(ARRAY, &array(F64, 1 << 61, &[])), "elements of k"),
        ("27 arrays 20,000 deep", raw(ARRAY, &[&nested[..], &array(U8, 1, &[1])].concat()), "array of arrays"),
        ("28 element type 99", raw(ARRAY, &array(99, 1, &[1])), "found 99"),
        ("29 alignment 0", with_alignment(U32, &0u32.to_le_bytes()), "found 0"),
        ("30 alignment 13", with_alignment(U32, &13u32.to_le_bytes()), "found 13"),
        ("31 alignment 2 GiB", with_alignment(U32, &(1u32 << 31).to_le_bytes()), "power of two"),
        ("32 alignment signed", with_alignment(I32, &32u32.to_le_bytes()), "unsigned"),
        ("33 alignment a text", with_alignment(STRING, &string("32")), "unsigned"),
        ("text not UTF-8", raw(STRING, &string(b"\xff")), "UTF-8"),
        ("token not UTF-8", raw(ARRAY, &array(STRING, 1, &string(b"\xff"))), "UTF-8"),
    ]
}

fn bad_tensors() -> Vec<Case> {
    let max = u64::MAX;
    let one = |dims: &[u64], kind: u32, n_data: usize| with_tensors(vec![tensor("t", dims, kind, 0)], n_data);
    let at = |name: &str, dims: &[u64], offset: u64| tensor(name, dims, TYPE_F32, offset);
    let with_n_dims = |n: u32| {
        let mut bytes = t();
        bytes[9..13].copy_from_slice(&n.to_le_bytes());
        with_tensors(vec![bytes], 128)
    };
    let mut long_name = t();
    long_name[..8].copy_from_slice(&max.to_le_bytes());
    let i8s = |name: &str, dims: &[u64], offset| tensor(name, dims, TYPE_I8, offset);
    let half = 0x7fff_ffff_ffff_ffc0;
    vec![
        ("34 name of 2^64 - 1 bytes", with_tensors(vec![long_name], 128), "name"),
        ("35 name of 65 bytes", with_tensors(vec![at(&"n".repeat(65), &[32], 0)], 128), "found 65"),
        ("36 name twice", with_tensors(vec![t(), at("t", &[32], 128)], 256), "twice"),
        ("37 five dimensions", one(&[1; 5], TYPE_F32, 128), "found 5"),
        ("no dimension", with_n_dims(0), "found 0"),
        ("38 2^32 - 1 dimensions", with_n_dims(u32::MAX), "dimensions"),
        ("39 dimension -1", one(&[max], TYPE_F32, 128), "overflows"),
        ("40 product wraps to 0", one(&[1 << 32, 1 << 32], TYPE_F32, 128), "overflows"),
        ("product wraps behind a zero", one(&[1 << 32, 1 << 32, 0], TYPE_F32, 0), "overflows"),
        ("41 bytes wrap", one(&[1 << 62, 1], TYPE_F32, 128), "overflows"),
        ("42 sum of two wraps", with_tensors(vec![i8s("a", &[half], 0), i8s("b", &[half], half)], 128), "I8"),
        ("43 padding wraps", with_tensors(vec![at("a", &[max / 4], 0), at("b", &[8], 0)], 128), "file ends"),
        ("44 2^63 - 1 times 2", with_tensors(vec![i8s("t", &[i64::MAX as u64, 2], 0)], 128), "I8"),
        ("45 Q4_K rows of 33", one(&[33, 2], TYPE_Q4_K, 512), "multiple of 256"),
        ("46 type 255", one(&[32], 255, 128), "type 255"),
        ("47 type -1", one(&[32], u32::MAX, 128), "type 4294967295"),
        ("48 removed type 4", one(&[32], 4, 128), "removed"),
        ("type IQ3_S", one(&[32], 21, 128), "tensor t of type 21 (IQ3_S)"),
        ("what is read instead", one(&[32], 21, 128), "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K"),
        ("49 offset unaligned", with_tensors(vec![at("t", &[8], 1)], 128), "aligned"),
        ("50 offset past the end", with_tensors(vec![at("t", &[32], 1 << 20)], 128), "file ends"),
        ("51 offset + size wraps", with_tensors(vec![at("t", &[32], max & !31)], 128), "file ends"),
        ("52 overlap", with_tensors(vec![t(), at("b", &[32], 32)], 256), "inside the tensor"),
        ("53 one byte short", with_tensors(vec![t()], 127), "file ends"),
        ("54 no data", with_tensors(vec![t()], 0), "file ends"),
        ("55 cut inside a description", cut_description(), "file ends"),
        ("56 ZIP in a gap", zip_in_gap(), "belong to no tensor"),
        ("ZIP at the end", [with_tensors(vec![t()], 128), b"PK\x03\x04".repeat(20)].concat(), "belong to no tensor"),
    ]
}

fn cut_description() -> Vec<u8> {
    let mut bytes = RawFile { entries: vec![architecture()], tensors: vec![t()], ..RawFile::default() }.header();
    bytes.truncate(bytes.len() - 5);
    bytes
}

fn zip_in_gap() -> Vec<u8> {
    let data = [vec![0; 128], b"PK\x03\x04".repeat(992), vec![0; 128]].concat();
    let tensors = vec![t(), tensor("b", &[32], TYPE_F32, 4096)];
    RawFile { entries: vec![architecture()], tensors, data, ..RawFile::default() }.bytes()
}

#[test]
fn refuses_malformed_files() {
    let files = [bad_starts(), bad_metadata(), bad_tensors()].concat();
    let numbered = files.iter().filter(|(name, ..)| name.as_bytes()[..2].iter().all(u8::is_ascii_digit)).count();
    assert_eq!(numbered, 57);
    assert_refused(files);
}

#[test]
fn accepts_good_files() {
    let empty = RawFile::default().bytes();
    let one = RawFile { entries: vec![architecture()], tensors: vec![t()], data: vec![0; 128], ..RawFile::default() };
    let aligned = RawFile {
        entries: vec![entry("general.alignment", U32, &64u32.to_le_bytes())],
        tensors: vec![t()],
        alignment: 64,
        data: vec![0; 128],
        ..RawFile::default()
    };
    let zero = with_tensors(vec![tensor("t", &[0], TYPE_F32, 0)], 0);
    let version_2 = RawFile { version: 2, tensors: vec![t()], data: vec![0; 128], ..RawFile::default() };
    for bytes in [empty, one.bytes(), aligned.bytes(), zero, version_2.bytes()] {
        open_and_read(&bytes).unwrap();
    }
}

#[test]
fn limits_hold_exactly() {
    let many_keys = |n: u64| with_entries((0..n).map(|i| entry(i.to_string(), U8, &[1])).collect());
    let many_tensors =
        |n: u64| with_tensors((0..n).map(|i| tensor(i.to_string(), &[8], TYPE_F32, 32 * i)).collect(), 32 * n as usize);
    let key = |n: u64| with_entries(vec![entry("k".repeat(n as usize), U8, &[1])]);
    let name = |n: u64| with_tensors(vec![tensor("n".repeat(n as usize), &[32], TYPE_F32, 0)], 128);
    let text = |n: u64| with_entries(vec![entry("k", STRING, &string(vec![b'x'; n as usize]))]);
    let dims = |n: u64| with_tensors(vec![tensor("t", &vec![1; n as usize], TYPE_F32, 0)], 4);
    let alignment = |n: u64| {
        let entries = vec![entry("general.alignment", U32, &(n as u32).to_le_bytes())];
        RawFile { entries, alignment: n as usize, ..RawFile::default() }.bytes()
    };
    let limits: [(&str, u64, MakeFile<'_>); 6] = [
        ("keys", MAX_KEYS, &many_keys),
        ("tensors", MAX_TENSORS, &many_tensors),
        ("key", MAX_KEY_BYTES, &key),
        ("name", MAX_NAME_BYTES, &name),
        ("text", MAX_STRING_BYTES, &text),
        ("dimensions", 4, &dims),
    ];
    for (what, limit, make) in limits {
        assert!(open_one(&make(limit)).is_ok(), "{what} at the limit");
        assert!(open_one(&make(limit + 1)).is_err(), "{what} beyond the limit");
    }
    for (n, accepted) in [(4, false), (8, true), (1 << 20, true), (1 << 21, false)] {
        assert_eq!(open_one(&alignment(n)).is_ok(), accepted, "alignment {n}");
    }
}

#[test]
fn arrays_share_one_limit() {
    let bytes = |n: u64| array(U8, n, &vec![1; n as usize]);
    let half = 1u64 << 23;
    let file = |rest| with_entries(vec![entry("a", ARRAY, &bytes(half)), entry("b", ARRAY, &bytes(rest))]);
    assert!(open_one(&file(half)).is_ok());
    assert!(open_one(&file(half + 1)).err().unwrap().to_string().contains("elements of b"));
}

#[test]
fn keeps_every_kind_of_value() {
    let raw = |key: &str, kind: u32, value: &[u8]| entry(key, kind, value);
    let bytes = with_entries(vec![
        raw("u8", 0, &[200]),
        raw("i8", 1, &[0xff]),
        raw("u16", 2, &[1, 2]),
        raw("i16", 3, &[0xfe, 0xff]),
        raw("u32", 4, &u32::MAX.to_le_bytes()),
        raw("i32", 5, &(-5i32).to_le_bytes()),
        raw("f32", 6, &1.5f32.to_le_bytes()),
        raw("bool", 7, &[1]),
        raw("text", 8, &string("a\0é")),
        raw("u64", 10, &u64::MAX.to_le_bytes()),
        raw("i64", 11, &i64::MIN.to_le_bytes()),
        raw("f64", 12, &0.1f64.to_le_bytes()),
        raw("i16s", ARRAY, &array(3, 2, &[1, 0, 0xff, 0xff])),
        raw("f64s", ARRAY, &array(F64, 1, &0.5f64.to_le_bytes())),
        raw("bools", ARRAY, &array(BOOL, 2, &[0, 1])),
        raw("texts", ARRAY, &array(STRING, 2, &[string("x"), string("")].concat())),
    ]);
    use trice::format::Value::{Bool, Bools, F64 as Float, Floats, I64, Ints, String as Text, Strings, U64};
    let wanted = [
        ("u8", U64(200)),
        ("i8", I64(-1)),
        ("u16", U64(513)),
        ("i16", I64(-2)),
        ("u32", U64(u32::MAX.into())),
        ("i32", I64(-5)),
        ("f32", Float(1.5)),
        ("bool", Bool(true)),
        ("text", Text("a\0é".to_owned())),
        ("u64", U64(u64::MAX)),
        ("i64", I64(i64::MIN)),
        ("f64", Float(0.1)),
        ("i16s", Ints(vec![1, -1])),
        ("f64s", Floats(vec![0.5])),
        ("bools", Bools(vec![false, true])),
        ("texts", Strings(vec!["x".to_owned(), String::new()])),
    ];
    let checkpoint = open_one(&bytes).unwrap();
    let trice::format::Config::Gguf(metadata) = checkpoint.config() else { panic!("GGUF wanted") };
    for (key, value) in wanted {
        assert_eq!(metadata.0.get(key), Some(&value), "{key}");
    }
    let too_large = with_entries(vec![raw("k", ARRAY, &array(10, 1, &u64::MAX.to_le_bytes()))]);
    assert!(open_one(&too_large).err().unwrap().to_string().contains("2^63"));
}

#[test]
fn rows_and_small_tensors_are_bounded() {
    let file = GgufWriter::default()
        .f32_tensor("good", &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        .f32_tensor("blk.0.attn_norm.weight", &[2], &[1.0, f32::NAN])
        .finish();
    let checkpoint = open_one(&file).unwrap();
    let good = checkpoint.tensor("good").unwrap();
    let rows = |first, n| pollster::block_on(checkpoint.read_rows(good, first, n));
    assert_eq!(rows(1, 2).unwrap(), bytemuck::cast_slice::<f32, u8>(&[2.0, 3.0, 4.0, 5.0]));
    assert!(rows(2, 2).is_err() && rows(u64::MAX, 2).is_err());
    let read = |name| pollster::block_on(checkpoint.read_f32(name)).err().unwrap().to_string();
    assert!(read("blk.0.attn_norm.weight").contains("blk.0.attn_norm.weight: finite"));
    assert!(read("blk.1.attn_norm.weight").contains("found none"));
    let large = open_one(&with_tensors(vec![tensor("t", &[(16 << 20) + 32], 8, 0)], ((16 << 20) + 32) / 32 * 34));
    let error = pollster::block_on(large.unwrap().read_f32("t")).err().unwrap();
    assert!(matches!(error, trice::Error::Limit { .. }), "{error}");
}

/// Part `no` of `count`, with one tensor.
fn part(no: u32, count: u32, n_tensors: u32) -> Vec<u8> {
    GgufWriter::default()
        .uint("split.no", no)
        .uint("split.count", count)
        .uint("split.tensors.count", n_tensors)
        .tensor(&format!("t{no}"), DType::F32, &[8], &[no as u8; 32])
        .finish()
}

#[test]
fn joins_split_files() {
    let checkpoint = open((0..3).map(|no| part(no, 3, 3)).collect(), &[]).unwrap();
    assert_eq!(checkpoint.tensors().map(|tensor| tensor.file).collect::<Vec<_>>(), [0, 1, 2]);
    let last = checkpoint.tensor("t2").unwrap();
    assert_eq!(pollster::block_on(checkpoint.read_rows(last, 0, 1)).unwrap(), [2; 32]);
}

#[test]
fn refuses_parts_that_do_not_belong_together() {
    let refused = |parts: Vec<Vec<u8>>, fragment: &str| {
        let error = open(parts, &[]).err().unwrap().to_string();
        assert!(error.contains(fragment), "{fragment:?} wanted, found {error}");
    };
    refused(vec![part(0, 3, 3), part(2, 3, 3)], "split into 3 files: 2 given");
    refused(vec![part(0, 65_535, 3)], "65535 files: 1 given");
    refused(vec![part(0, 3, 3), part(2, 3, 3), part(1, 3, 3)], "part 1 of 3 wanted, found 2 of 3");
    refused(vec![part(0, 2, 2), part(1, 4, 2)], "part 1 of 2 wanted, found 1 of 4");
    refused(vec![part(0, 2, 2), part(1, 2, 7)], "another model");
    refused(vec![part(0, 2, 7), part(1, 2, 7)], "7 tensors wanted");
    refused(vec![part(1, 2, 2)], "2 files: 1 given");
    refused(vec![part(0, 1, 1), part(0, 1, 1)], "1 file");
    refused(vec![], "found no weights");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn mutated_files_never_panic(mutations in prop::collection::vec(any_mutation(), 1..4)) {
        let good = GgufWriter::default()
            .string("general.architecture", "llama")
            .uint("general.alignment", 32)
            .strings("tokenizer.ggml.tokens", &["a", "b"])
            .floats("tokenizer.ggml.scores", &[0.0, -1.0])
            .bool("tokenizer.ggml.add_bos_token", true)
            .f32_tensor("output_norm.weight", &[8], &[1.0; 8])
            .tensor("token_embd.weight", DType::Q8_0, &[2, 32], &[1; 68])
            .finish();
        let _ = open_and_read(&mutate(&good, &mutations));
    }
}
