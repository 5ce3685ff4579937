//! Columns of results: their names in a table that has columns of its own, and their cells. Which column is read.

use crate::error::{Error, Result};
use std::borrow::Cow;

/// A row's text, or why it has none.
pub type Text = Result<String, String>;

/// A row's results, or why there are none.
pub type Outcome = Result<Vec<Cell>, String>;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A number.
    Number,
    /// A list of numbers.
    Numbers,
    /// Lists and objects; text in formats that have none.
    Json,
}

/// A column of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// As the task calls it, or as the table does.
    pub name: String,
    /// What stands in it.
    pub kind: Kind,
}

impl Column {
    /// A column of a task.
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind }
    }
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number.
    Number(f32),
    /// A list of numbers.
    Numbers(Vec<f32>),
    /// Written as JSON already.
    Json(String),
}

impl Cell {
    /// A list or an object.
    pub fn json(value: &impl serde::Serialize) -> Result<Self> {
        as_json(value).map(Self::Json)
    }

    /// The cell as JSON.
    pub(super) fn to_json(&self) -> Result<Cow<'_, str>> {
        Ok(match self {
            Self::Text(text) => Cow::Owned(as_json(text)?),
            Self::Number(number) => Cow::Owned(as_json(number)?),
            Self::Numbers(numbers) => Cow::Owned(as_json(numbers)?),
            Self::Json(json) => Cow::Borrowed(json),
        })
    }

    /// As a field of a line: text as it is, all else as JSON.
    pub(super) fn to_field(&self) -> Result<Cow<'_, str>> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            other => other.to_json(),
        }
    }
}

pub(super) fn as_json(value: &(impl serde::Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid(format!("a result as JSON: {error}")))
}

/// The columns of a text's best label.
pub fn label_columns() -> Vec<Column> {
    vec![Column::new("label", Kind::Text), Column::new("score", Kind::Number)]
}

/// What stands in them.
pub fn label_cells(label: String, score: f32) -> Vec<Cell> {
    vec![Cell::Text(label), Cell::Number(score)]
}

/// The columns that a table gets, by the names that they have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Those of results.
    pub columns: Vec<Column>,
    /// The column of what is wrong with a row.
    pub error: String,
}

/// Stands before all names of results where the table has one of them already, as many data sets have a `label`.
const PREFIX: &str = "predicted_";

const ERROR: &str = "error";

impl Added {
    /// `columns` beside those that `table` has.
    ///
    /// # Errors
    /// `Invalid` where it has those of all names that they could get.
    pub fn beside(table: &str, columns: Vec<Column>, own: &[String]) -> Result<Self> {
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
                Err(Error::invalid(what))
            }
            _ => Ok(renamed),
        }
    }

    /// Whether the names are others than the task's.
    pub fn is_renamed(&self) -> bool {
        self.error != ERROR
    }

    /// Which of the names is among `own`.
    fn clash<'a>(&'a self, own: &[String]) -> Option<&'a str> {
        self.names().find(|name| own.iter().any(|own| own == name))
    }

    /// All names, the error's last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str()).chain([self.error.as_str()])
    }
}

/// A column that a table is read for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// By name.
    pub asked: Option<&'a str>,
    /// What such columns are usually called, the most telling first.
    pub(super) usual: &'static [&'static str],
    /// What stands in it, and how its name is given.
    what: &'static str,
    flag: &'static str,
    /// Whether it is the one with the longest texts where names do not tell.
    or_longest: bool,
}

impl<'a> Wanted<'a> {
    /// The column of texts.
    pub fn texts(asked: Option<&'a str>) -> Self {
        let usual = &["text", "sentence", "content", "body", "message", "review", "comment", "question"];
        Self { asked, usual, what: "texts", flag: "--column", or_longest: false }
    }

    /// The column of known labels.
    pub fn labels(asked: Option<&'a str>) -> Self {
        let usual = &["label", "labels", "intent", "category", "class", "sentiment", "topic", "target"];
        Self { asked, usual, what: "labels", flag: "--label-column", or_longest: false }
    }

    /// Rather a guess than an error: the column with the longest texts where names do not tell, for those who are shown
    /// which it is.
    pub fn or_longest(self) -> Self {
        Self { or_longest: true, ..self }
    }
}

/// Which column it is: the one asked for, else one with a usual name, else the only one that could. `lengths`: how long the texts
/// of each column are in the first rows.
///
/// # Errors
/// `Invalid`, with the columns that there are.
pub fn find_column(
    table: &str,
    wanted: Wanted<'_>,
    columns: &[String],
    lengths: impl FnOnce() -> Vec<usize>,
) -> Result<usize> {
    let Wanted { asked, usual: all_usual, what, flag, or_longest } = wanted;
    let position = |wanted: &str| columns.iter().position(|name| name == wanted);
    let usual = |wanted: &str| columns.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    let found = match asked {
        Some(asked) => position(asked),
        None => all_usual.iter().find_map(|name| usual(name)).or((columns.len() == 1).then_some(0)),
    };
    let longest = || {
        let lengths = lengths();
        // The first of equals.
        (0..columns.len()).rev().max_by_key(|i| lengths.get(*i).copied())
    };
    let found = found.or_else(|| (or_longest && asked.is_none()).then(longest).flatten());
    found.ok_or_else(|| {
        let list = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
        let wanted = match asked {
            Some(asked) => format!("no column of {what} is called {asked:?}"),
            None => format!("which column holds the {what}? Say so with {flag}"),
        };
        Error::invalid(format!("{table}: {wanted} (columns: {list})"))
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
        let find = |asked, columns: &[&str]| find_column("t.csv", Wanted::texts(asked), &names(columns), Vec::new).ok();
        assert_eq!(find(None, &["id", "Sentence", "text"]), Some(2));
        assert_eq!(find(None, &["id", "Sentence"]), Some(1));
        assert_eq!(find(None, &["anything"]), Some(0));
        assert_eq!(find(Some("id"), &["id", "text"]), Some(0));
        assert_eq!(find(Some("Text"), &["id", "text"]), None);
        assert_eq!(find(None, &["a", "b"]), None);
        let error = find_column("t.csv", Wanted::texts(None), &names(&["a", "b"]), Vec::new).unwrap_err().to_string();
        assert!(error.contains("t.csv") && error.contains("a, b"), "{error}");
    }

    #[test]
    fn the_longest_texts_are_guessed_only_where_names_do_not_tell() {
        let find = |asked, columns: &[&str]| {
            let wanted = Wanted::texts(asked).or_longest();
            find_column("t.csv", wanted, &names(columns), || vec![3, 9, 9]).ok()
        };
        assert_eq!(find(None, &["a", "b", "c"]), Some(1));
        assert_eq!(find(None, &["text", "b", "c"]), Some(0));
        assert_eq!(find(Some("c"), &["a", "b", "c"]), Some(2));
        assert_eq!(find(Some("d"), &["a", "b", "c"]), None);
        assert_eq!(find(None, &[]), None);
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
