//! Parquet files.

use super::{Files, assert_refused};
use crate::program::{has_gpu, last_error, run, run_with_input, stdout};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_array::{LargeStringArray, StringViewArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Texts of which every seventh is null, beside their numbers and lists of them.
fn columns(n_rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let texts: StringArray =
        (0..n_rows).map(|i| (i % 7 != 3).then(|| format!("a {} film {i}", "long ".repeat(i % 4)))).collect();
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>((0..n_rows).map(|i| Some([Some(i as i64), None])));
    vec![
        ("id", Arc::new((0..n_rows as i64).collect::<Int64Array>())),
        ("text", Arc::new(texts)),
        ("list", Arc::new(lists)),
    ]
}

fn write(path: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// All rows of a file in one batch.
fn read(path: &str) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let n_rows = builder.metadata().file_metadata().num_rows() as usize;
    builder.with_batch_size(n_rows).build().unwrap().next().unwrap().unwrap()
}

fn files(columns: Vec<(&str, ArrayRef)>) -> Files {
    let files = Files::new("parquet", b"");
    write(&files.table, columns);
    files
}

#[test]
fn gpu_parquet_gets_columns_of_results() {
    if !has_gpu() {
        return;
    }
    let own = columns(20);
    let files = files(own.clone());
    let output = files.run(&["classify", "--top", "2"]);
    assert!(output.status.success(), "{}", last_error(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("3 of 20 rows have an error") && said.contains("is row 4: text is null"), "{said}");
    let result = read(&files.out);
    let schema = result.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "text", "list", "label", "score", "labels", "error"]);
    for (i, (_, column)) in own.iter().enumerate() {
        assert_eq!(result.column(i), column);
    }
    let printed = stdout(&run(&["classify", "--file", &files.table, "--top", "2", "--json"]));
    for (i, line) in printed.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let is_bad = i % 7 == 3;
        assert!((3..6).all(|column| result.column(column).is_null(i) == is_bad), "row {i}");
        assert_eq!(result.column(6).is_null(i), !is_bad, "row {i}");
        if is_bad {
            assert_eq!(line["error"], result.column(6).as_string::<i32>().value(i));
            continue;
        }
        assert_eq!(line["labels"][0]["label"], result.column(3).as_string::<i32>().value(i));
        let score = result.column(4).as_primitive::<Float32Type>().value(i);
        assert_eq!(line["labels"][0]["score"].as_f64().unwrap() as f32, score);
        let labels: serde_json::Value = serde_json::from_str(result.column(5).as_string::<i32>().value(i)).unwrap();
        assert_eq!(line["labels"], labels);
    }
    assert!(!Path::new(&format!("{}.parts", files.out)).exists());
}

#[test]
fn gpu_every_kind_of_string_is_a_text() {
    if !has_gpu() {
        return;
    }
    let texts = [Some("a good film"), None, Some("a bad film"), Some("a good film")];
    let labels = |column: ArrayRef| {
        let files = files(vec![("id", Arc::new(Int64Array::from_iter_values(0..4))), ("said", column)]);
        assert!(files.run(&["classify"]).status.success());
        let result = read(&files.out);
        result.column(2).as_string::<i32>().iter().map(|label| label.map(str::to_owned)).collect::<Vec<_>>()
    };
    let wanted = labels(Arc::new(StringArray::from(texts.to_vec())));
    assert!(wanted[0].is_some() && wanted[1].is_none() && wanted[0] == wanted[3]);
    assert_eq!(labels(Arc::new(LargeStringArray::from(texts.to_vec()))), wanted);
    assert_eq!(labels(Arc::new(StringViewArray::from(texts.to_vec()))), wanted);
    assert_eq!(labels(Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>())), wanted);
}

#[cfg(unix)]
#[test]
fn gpu_an_interrupted_parquet_is_gone_on_with() {
    if !has_gpu() {
        return;
    }
    let files = files(columns(3000));
    let plain = files.folder.path().join("plain.parquet").display().to_string();
    assert!(run(&["embed", "--file", &files.table, "-o", &plain]).status.success());
    let command = ["embed", "--file", &files.table, "-o", &files.out, "--resume"];
    let part = |i: usize| format!("{}.parts/{i:06}.parquet", files.out);
    let unfinished = format!("{}.parts/unfinished.parquet", files.out);
    for (name, n_parts) in [("INT", 1), ("KILL", 1), ("INT", 2)] {
        // What a killed run has left is written anew.
        let _ = std::fs::remove_file(&unfinished);
        let mut child = crate::program::trice(&command).spawn().unwrap();
        while !Path::new(&unfinished).exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
            std::thread::yield_now();
        }
        crate::program::signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), (name == "INT").then_some(130), "{}", last_error(&output));
        assert!(Path::new(&part(n_parts - 1)).exists() && !Path::new(&part(n_parts)).exists(), "{name}");
    }
    let without = run(&command[..5]);
    assert_refused(&without, 2, &["--resume"], &files.out);
    assert!(run(&command).status.success());
    assert_eq!(read(&files.out), read(&plain));
    assert!(!Path::new(&format!("{}.parts", files.out)).exists());
    // A run that has nothing left to do.
    assert!(run(&command).status.success());
    assert_eq!(read(&files.out), read(&plain));
}

#[test]
fn gpu_parts_of_another_file_are_not_gone_on_with() {
    if !has_gpu() {
        return;
    }
    let files = files(columns(20));
    let folder = format!("{}.parts", files.out);
    std::fs::create_dir(&folder).unwrap();
    let mut other = columns(10);
    other[0].1 = Arc::new(Int64Array::from_iter_values(1..11));
    write(&format!("{folder}/000000.parquet"), other);
    let output = files.run(&["classify", "--resume"]);
    assert_refused(&output, 2, &["000000.parquet"], &files.out);
}

#[test]
fn parquet_that_cannot_be_is_refused() {
    let good = files(columns(3));
    let output = run(&["classify", "--file", &good.table]);
    assert_refused(&output, 2, &["-o"], &good.out);
    let output = run_with_input(&["classify", "--format", "parquet", "-o", &good.out], "PAR1");
    assert_refused(&output, 2, &["--file"], &good.out);
    let output = good.run(&["classify", "--column", "id"]);
    assert_refused(&output, 2, &["id", "(columns: text)"], &good.out);
    let bytes = std::fs::read(&good.table).unwrap();
    for broken in [&b""[..], b"no parquet at all", &bytes[..bytes.len() - 9]] {
        let files = Files::new("parquet", broken);
        assert_refused(&files.run(&["classify"]), 1, &["in.parquet"], &files.out);
    }
    let none = files(columns(0));
    assert_refused(&none.run(&["classify"]), 2, &["there is no text"], &none.out);
}

#[test]
fn gpu_a_file_that_cannot_be_read_leaves_nothing() {
    if !has_gpu() {
        return;
    }
    let files = files(columns(20));
    let mut bytes = std::fs::read(&files.table).unwrap();
    bytes[4..100].fill(0xFF);
    std::fs::write(&files.table, bytes).unwrap();
    assert_refused(&files.run(&["classify"]), 1, &["in.parquet"], &files.out);
    assert!(!Path::new(&format!("{}.parts", files.out)).exists());
}
