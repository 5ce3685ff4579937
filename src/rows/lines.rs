//! Plain lines: a text each. Results stand behind the text, after tabs, the error last.

use super::columns::{Added, Outcome, Text};
use super::table::TextFormat;
use crate::error::Result;

pub(super) struct Lines;

impl TextFormat for Lines {
    fn columns(&self) -> &[String] {
        &[]
    }

    fn column(&self) -> Option<&str> {
        None
    }

    fn parse(&self, row: &[u8]) -> (Text, Vec<u8>) {
        let text = std::str::from_utf8(row).map(str::to_owned).map_err(|_| "the line is not UTF-8".to_owned());
        (text, row.to_vec())
    }

    fn header(&self, _: &Added) -> Option<Vec<u8>> {
        None
    }

    fn add(&self, row: &mut Vec<u8>, added: &Added, outcome: &Outcome) -> Result<()> {
        for field in fields(added, outcome)? {
            row.push(b'\t');
            // A label may hold anything; a field of a line may not.
            row.extend(field.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
        }
        Ok(())
    }
}

/// A field for each added column, the error's last.
pub(super) fn fields(added: &Added, outcome: &Outcome) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    match outcome {
        Ok(cells) => {
            for cell in cells {
                fields.push(cell.to_field()?.into_owned());
            }
            fields.push(String::new());
        }
        Err(reason) => {
            fields.resize(added.columns.len(), String::new());
            fields.push(reason.clone());
        }
    }
    Ok(fields)
}
