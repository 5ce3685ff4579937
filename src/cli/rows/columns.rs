//! Columns of results: their names in a table that has columns of its own, and their cells.

use std::borrow::Cow;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Numbers,
    /// Lists and objects; text in formats that have none.
    Json,
}

/// A column of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Column {
    pub(crate) fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind }
    }
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Number(f32),
    Numbers(Vec<f32>),
    /// Written as JSON already.
    Json(String),
}

impl Cell {
    /// A list or an object.
    pub(crate) fn json(value: &impl serde::Serialize) -> trice::Result<Self> {
        let what = |error: serde_json::Error| trice::Error::invalid(format!("a result as JSON: {error}"));
        serde_json::to_string(value).map(Self::Json).map_err(what)
    }

    pub(super) fn write_json(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        match self {
            Self::Text(text) => serde_json::to_writer(out, text),
            Self::Number(number) => serde_json::to_writer(out, number),
            Self::Numbers(numbers) => serde_json::to_writer(out, numbers),
            Self::Json(json) => {
                out.extend_from_slice(json.as_bytes());
                Ok(())
            }
        }
    }

    /// As a field of a line: text as it is, all else as JSON.
    pub(super) fn as_field(&self) -> serde_json::Result<Cow<'_, str>> {
        Ok(match self {
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(serde_json::to_string(number)?),
            Self::Numbers(numbers) => Cow::Owned(serde_json::to_string(numbers)?),
        })
    }
}

/// The columns that a table gets, by the names that they have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) columns: Vec<Column>,
    /// The column of what is wrong with a row.
    pub(super) error: String,
}

/// Stands before all names of results where the table has one of them already, as many data sets have a `label`.
const PREFIX: &str = "predicted_";

const ERROR: &str = "error";

impl Added {
    /// `columns` beside those that `table` has.
    pub(super) fn beside(table: &str, columns: Vec<Column>, own: &[String]) -> anyhow::Result<Self> {
        let plain = Self { columns, error: ERROR.to_owned() };
        if plain.clash(own).is_none() {
            return Ok(plain);
        }
        let prefixed = |name: &str| format!("{PREFIX}{name}");
        let columns = plain.columns.iter().map(|column| Column::new(&prefixed(&column.name), column.kind));
        let renamed = Self { columns: columns.collect(), error: prefixed(&plain.error) };
        match (plain.clash(own), renamed.clash(own)) {
            (Some(first), Some(second)) => {
                let what = format!("{table} has columns {first} and {second} already: rename or drop them");
                Err(trice::Error::invalid(what).into())
            }
            _ => Ok(renamed),
        }
    }

    /// Whether the names are others than the task's.
    pub(super) fn is_renamed(&self) -> bool {
        self.error != ERROR
    }

    /// Which of the names is among `own`.
    pub(super) fn clash<'a>(&'a self, own: &[String]) -> Option<&'a str> {
        self.names().find(|name| own.iter().any(|own| own == name))
    }

    /// All names, the error's last.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str()).chain([self.error.as_str()])
    }
}

/// A column that a table is read for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// By name.
    pub(crate) asked: Option<&'a str>,
    /// What such columns are usually called, the most telling first.
    pub(super) usual: &'static [&'static str],
    /// What stands in it, and how its name is given.
    what: &'static str,
    flag: &'static str,
}

impl<'a> Wanted<'a> {
    pub(crate) fn texts(asked: Option<&'a str>) -> Self {
        let usual = &["text", "sentence", "content", "body", "message", "review", "comment", "question"];
        Self { asked, usual, what: "texts", flag: "--column" }
    }

    pub(crate) fn labels(asked: Option<&'a str>) -> Self {
        let usual = &["label", "labels", "intent", "category", "class", "sentiment", "topic", "target"];
        Self { asked, usual, what: "labels", flag: "--label-column" }
    }
}

/// Which column it is: the one asked for, else one with a usual name, else the only one that could.
pub(super) fn find_column(table: &str, wanted: Wanted<'_>, columns: &[String]) -> anyhow::Result<usize> {
    let Wanted { asked, usual: all_usual, what, flag } = wanted;
    let position = |wanted: &str| columns.iter().position(|name| name == wanted);
    let usual = |wanted: &str| columns.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    let found = match asked {
        Some(asked) => position(asked),
        None => all_usual.iter().find_map(|name| usual(name)).or((columns.len() == 1).then_some(0)),
    };
    found.ok_or_else(|| {
        let list = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
        let wanted = match asked {
            Some(asked) => format!("no column of {what} is called {asked:?}"),
            None => format!("which column holds the {what}? Say so with {flag}"),
        };
        trice::Error::invalid(format!("{table}: {wanted} (columns: {list})")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_column_of_texts_is_found_by_name_or_because_it_is_alone() {
        let find = |asked, columns: &[&str]| find_column("t.csv", Wanted::texts(asked), &names(columns)).ok();
        assert_eq!(find(None, &["id", "Sentence", "text"]), Some(2));
        assert_eq!(find(None, &["id", "Sentence"]), Some(1));
        assert_eq!(find(None, &["anything"]), Some(0));
        assert_eq!(find(Some("id"), &["id", "text"]), Some(0));
        assert_eq!(find(Some("Text"), &["id", "text"]), None);
        assert_eq!(find(None, &["a", "b"]), None);
        let error = find_column("t.csv", Wanted::texts(None), &names(&["a", "b"])).unwrap_err().to_string();
        assert!(error.contains("t.csv") && error.contains("a, b"), "{error}");
    }

    #[test]
    fn results_step_aside_for_columns_of_the_same_name() {
        let add = |own: &[&str]| Added::beside("t.csv", vec![Column::new("label", Kind::Text)], &names(own));
        let all = |added: Added| added.names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(all(add(&["text"]).unwrap()), ["label", "error"]);
        assert_eq!(all(add(&["text", "label"]).unwrap()), ["predicted_label", "predicted_error"]);
        assert!(add(&["label", "predicted_error"]).is_err());
    }
}
