//! A JSON object per line. Results are further keys of the object; a line that is no object, or has the results' keys itself,
//! becomes the string `line` of one.

use super::columns::{Added, Outcome, Text, Wanted, as_json, find_column};
use super::table::TextFormat;
use crate::error::Result;
use serde_json::{Map, Value};

pub(super) struct Jsonl {
    /// The keys that may hold the texts.
    columns: Vec<String>,
    /// Which of them does.
    column: String,
    /// Which keys are the results'.
    added: Vec<String>,
}

/// The keys of the first rows, as they come, and which of them hold strings.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) all: Vec<String>,
    strings: Vec<String>,
    /// Bytes of each of `strings`.
    lengths: Vec<usize>,
}

impl Keys {
    pub(super) fn of(rows: &[&[u8]]) -> Self {
        let mut keys = Self::default();
        for (key, value) in rows.iter().filter_map(|row| object(row).ok()).flatten() {
            if let Value::String(text) = &value {
                let found = keys.strings.iter().position(|string| *string == key);
                let i = found.unwrap_or_else(|| {
                    keys.strings.push(key.clone());
                    keys.lengths.push(0);
                    keys.lengths.len() - 1
                });
                keys.lengths[i] += text.len();
            }
            if !keys.all.contains(&key) {
                keys.all.push(key);
            }
        }
        keys
    }

    /// Which key holds the texts. A stream that begins with broken lines has shown none yet.
    fn column(&self, table: &str, wanted: Wanted<'_>) -> Result<String> {
        let asked = wanted.asked;
        if self.all.is_empty() {
            return Ok(asked.unwrap_or(wanted.usual[0]).to_owned());
        }
        let columns = if asked.is_some() || self.strings.is_empty() { &self.all } else { &self.strings };
        let lengths = || self.lengths.clone();
        Ok(columns[find_column(table, wanted, columns, lengths)?].clone())
    }
}

fn object(row: &[u8]) -> serde_json::Result<Map<String, Value>> {
    serde_json::from_slice(row)
}

impl Jsonl {
    pub(super) fn open(table: &str, keys: Keys, wanted: Wanted<'_>, added: Option<&Added>) -> Result<Self> {
        let column = keys.column(table, wanted)?;
        let added = added.iter().flat_map(|added| added.names()).map(str::to_owned).collect();
        Ok(Self { columns: keys.strings, column, added })
    }

    fn text(&self, object: &Map<String, Value>) -> Text {
        let column = &self.column;
        match object.get(column) {
            Some(Value::String(text)) => Ok(text.clone()),
            None => Err(format!("there is no key {column}")),
            Some(Value::Null) => Err(format!("{column} is null")),
            Some(_) => Err(format!("{column} is not a string")),
        }
    }
}

impl TextFormat for Jsonl {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn column(&self) -> Option<&str> {
        Some(&self.column)
    }

    fn parse(&self, row: &[u8]) -> (Text, Vec<u8>) {
        match object(row) {
            Err(error) => (Err(format!("no JSON object: {error}")), quoted(row)),
            Ok(object) => match self.added.iter().find(|key| object.contains_key(*key)) {
                Some(key) => (Err(format!("the row has a key {key}, as results do")), quoted(row)),
                None => (self.text(&object), opened(row)),
            },
        }
    }

    fn header(&self, _: &Added) -> Option<Vec<u8>> {
        None
    }

    fn add(&self, row: &mut Vec<u8>, added: &Added, outcome: &Outcome) -> Result<()> {
        add_keys(row, added, outcome)
    }
}

/// An object without its last brace.
fn opened(row: &[u8]) -> Vec<u8> {
    let row = row.trim_ascii_end();
    row.strip_suffix(b"}").unwrap_or(row).trim_ascii_end().to_vec()
}

/// A line that is no object, as the beginning of one.
fn quoted(row: &[u8]) -> Vec<u8> {
    let line = Value::String(String::from_utf8_lossy(row).into_owned());
    format!("{{\"line\":{line}").into_bytes()
}

/// Ends an object that is open with the keys of results.
pub fn add_keys(row: &mut Vec<u8>, added: &Added, outcome: &Outcome) -> Result<()> {
    let mut add = |name: &str, json: &str| {
        if !row.ends_with(b"{") {
            row.push(b',');
        }
        row.extend_from_slice(as_json(name)?.as_bytes());
        row.push(b':');
        row.extend_from_slice(json.as_bytes());
        Ok(())
    };
    match outcome {
        Ok(cells) => {
            let mut cells = added.columns.iter().zip(cells);
            cells.try_for_each(|(column, cell)| add(&column.name, &cell.to_json()?))?;
        }
        Err(reason) => add(&added.error, &as_json(reason)?)?,
    }
    row.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::columns::{Cell, Column, Kind};
    use super::*;

    fn added() -> Added {
        let columns = vec![Column::new("label", Kind::Text), Column::new("score", Kind::Number)];
        Added::beside("t.jsonl", columns, &[]).unwrap()
    }

    fn written(row: &[u8]) -> String {
        let format = Jsonl::open("t.jsonl", Keys::default(), Wanted::texts(None), Some(&added())).unwrap();
        let (text, mut kept) = format.parse(row);
        let outcome = text.map(|text| vec![Cell::Text(text), Cell::Number(0.1)]);
        format.add(&mut kept, &added(), &outcome).unwrap();
        let written = String::from_utf8(kept).unwrap();
        assert!(object(written.as_bytes()).is_ok(), "{written}");
        written
    }

    #[test]
    fn results_stand_behind_the_keys_of_a_row() {
        assert_eq!(written(br#"{ "n": 1.0, "text": "a" } "#), r#"{ "n": 1.0, "text": "a","label":"a","score":0.1}"#);
    }

    #[test]
    fn a_bad_row_is_kept_with_its_error() {
        assert_eq!(written(b"{}"), r#"{"error":"there is no key text"}"#);
        assert_eq!(written(br#"{"text":null}"#), r#"{"text":null,"error":"text is null"}"#);
        assert_eq!(written(br#"{"text":3}"#), r#"{"text":3,"error":"text is not a string"}"#);
        for (row, kept) in [
            (&br#"{"text":"#[..], r#"{"line":"{\"text\":","error":"#),
            (b"[1]", r#"{"line":"[1]","error":"#),
            (b"{\"text\":\"\xFF\"}", "{\"line\":\"{\\\"text\\\":\\\"\u{FFFD}\\\"}\",\"error\":"),
            (br#"{"text":"a","score":1}"#, r#"{"line":"{\"text\":\"a\",\"score\":1}","error":"#),
        ] {
            assert!(written(row).starts_with(kept), "{}", written(row));
        }
    }

    #[test]
    fn the_texts_key_is_a_string_of_the_first_rows() {
        let rows: [&[u8]; 3] = [b"broken", br#"{"id": 1, "note": "a"}"#, br#"{"id": 2, "x": null}"#];
        let keys = Keys::of(&rows);
        assert_eq!(keys.all, ["id", "note", "x"]);
        assert_eq!(keys.column("t.jsonl", Wanted::texts(None)).unwrap(), "note");
        assert!(keys.column("t.jsonl", Wanted::texts(Some("nota"))).unwrap_err().to_string().contains("id, note, x"));
        assert_eq!(Keys::default().column("t.jsonl", Wanted::texts(None)).unwrap(), "text");
    }
}
