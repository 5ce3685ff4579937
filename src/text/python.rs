//! JSON as Python's `json.dumps` writes it, and Python's methods of texts that templates call. Holds no template.

use super::jinja::bounded;
use minijinja::value::{Kwargs, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io;

/// Spaces that JSON may be indented by.
const MAX_INDENT: usize = 16;

/// The shortest digits that give the number back, with an exponent where there are many zeros.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let exponent =
        scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match exponent {
        Some((digits, exponent)) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{number:?}").replace("NaN", "nan"),
    }
}

/// `json.dumps` with the arguments that templates give it, not escaping for HTML.
pub(super) fn to_json(state: &State<'_, '_>, value: &Value, options: &Kwargs) -> Result<Value, Error> {
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, format!("tojson: {error}"));
    let mut value = serde_json::to_value(bounded(state, value.clone())?).map_err(failed)?;
    if options.get::<Option<bool>>("sort_keys")?.unwrap_or(false) {
        value.sort_all_objects();
    }
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let indent = options.get::<Option<usize>>("indent")?;
    let (between, after_key) = match separators.as_deref() {
        Some([between, after_key]) => (between.as_str(), after_key.as_str()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators must be two texts")),
        None => (if indent.is_some() { "," } else { ", " }, ": "),
    };
    let indent = indent.map(|indent| " ".repeat(indent.min(MAX_INDENT)));
    let lines = indent.as_ref().map(|indent| PrettyFormatter::with_indent(indent.as_bytes()));
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let mut json = Vec::new();
    let style = Style { between, after_key, lines, ascii };
    value.serialize(&mut Serializer::with_formatter(&mut json, style)).map_err(failed)?;
    Ok(Value::from_safe_string(String::from_utf8_lossy(&json).into_owned()))
}

/// A method of a value that the language itself has not.
pub(super) fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args);
    };
    match name {
        "rsplit" => {
            let (mark, most): (Option<&str>, Option<i64>) = from_args(args)?;
            let parts = usize::try_from(most.unwrap_or(-1)).map_or(usize::MAX, |most| most.saturating_add(1));
            let mut parts: Vec<&str> = match mark {
                Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "rsplit: the separator is empty")),
                Some(mark) => text.rsplitn(parts, mark).collect(),
                None => return Err(Error::new(ErrorKind::InvalidOperation, "rsplit: a separator is wanted")),
            };
            parts.reverse();
            Ok(parts.into_iter().map(Value::from).collect())
        }
        "partition" | "rpartition" => {
            let (mark,): (&str,) = from_args(args)?;
            let found = if name == "partition" { text.split_once(mark) } else { text.rsplit_once(mark) };
            let (before, mark, after) = match found {
                Some((before, after)) => (before, mark, after),
                None if name == "partition" => (text, "", ""),
                None => ("", "", text),
            };
            Ok([before, mark, after].into_iter().map(Value::from).collect())
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// How `json.dumps` writes.
struct Style<'a> {
    between: &'a str,
    after_key: &'a str,
    /// Lines and indents, where they are asked for.
    lines: Option<PrettyFormatter<'a>>,
    ascii: bool,
}

impl Style<'_> {
    /// What stands before an item: what separates it from the last, and a new line.
    fn begin_item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.between.as_bytes())?;
        }
        // The formatter of lines writes a comma before all but the first.
        self.lines.as_mut().map_or(Ok(()), |lines| lines.begin_array_value(writer, true))
    }
}

impl Formatter for Style<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.lines {
            Some(lines) => lines.begin_array(writer),
            None => writer.write_all(b"["),
        }
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.lines {
            Some(lines) => lines.end_array(writer),
            None => writer.write_all(b"]"),
        }
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.begin_item(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.lines.as_mut().map_or(Ok(()), |lines| lines.end_array_value(writer))
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.lines {
            Some(lines) => lines.begin_object(writer),
            None => writer.write_all(b"{"),
        }
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.lines {
            Some(lines) => lines.end_object(writer),
            None => writer.write_all(b"}"),
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.begin_item(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.after_key.as_bytes())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.lines.as_mut().map_or(Ok(()), |lines| lines.end_object_value(writer))
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, number: f64) -> io::Result<()> {
        writer.write_all(float(number).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if !self.ascii {
            return writer.write_all(text.as_bytes());
        }
        for unit in text.encode_utf16() {
            match u8::try_from(unit).ok().filter(u8::is_ascii) {
                Some(byte) => writer.write_all(&[byte])?,
                None => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_written_as_python_does() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (1e-4, "0.0001"),
            (-0.0, "-0.0"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ];
        for (number, wanted) in cases {
            assert_eq!(float(number), wanted);
        }
    }
}
