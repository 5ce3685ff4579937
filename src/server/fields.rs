//! Reads a request's JSON object field by field, so that every refusal names the field and the range.

use super::error::ApiError;
use super::limits::NumberRange;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::{Bound, RangeBounds as _, RangeInclusive};

/// The fields of a request. A null field counts as absent, as OpenAI's clients mean it.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a body; duplicate fields, trailing bytes and anything but an object are refused.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| ApiError::malformed(format!("the body is no request: {error}")))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn number(&self, name: &str, range: NumberRange) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if range.contains(&number) => Ok(Some(number as f32)),
            _ => Err(ApiError::invalid(name, format!("{name} must be a number in {}", shown(range)))),
        }
    }

    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_i64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = range.into_inner();
                Err(ApiError::invalid(name, format!("{name} must be an integer from {least} to {most}")))
            }
        }
    }

    pub(crate) fn bool(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(ApiError::invalid(name, format!("{name} must be true or false"))),
        }
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(ApiError::invalid(name, format!("{name} must be a text"))),
        }
    }

    /// A text, or a list of at most `most` texts.
    pub(crate) fn strings(&self, name: &str, most: usize) -> Result<Vec<String>, ApiError> {
        let wrong = || ApiError::invalid(name, format!("{name} must be a text or a list of at most {most} texts"));
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(list)) if list.len() <= most => {
                list.iter().map(|item| item.as_str().map(str::to_string).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// Refuses a field that would be ignored, unless its value asks for nothing.
    pub(crate) fn refuse(&self, name: &str) -> Result<(), ApiError> {
        let asks_for_nothing = match self.get(name) {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if asks_for_nothing { Ok(()) } else { Err(ApiError::unsupported(name)) }
    }
}

fn shown((least, most): NumberRange) -> String {
    let left = match least {
        Bound::Included(number) => format!("[{number}"),
        Bound::Excluded(number) => format!("({number}"),
        Bound::Unbounded => "(-inf".to_string(),
    };
    match most {
        Bound::Included(number) => format!("{left}, {number}]"),
        Bound::Excluded(number) => format!("{left}, {number})"),
        Bound::Unbounded => format!("{left}, inf)"),
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fields, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if map.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field {name:?}")));
                    }
                    map.insert(name, value);
                }
                Ok(Fields(map))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::limits::{MAX_TOKENS, TEMPERATURE, TOP_P};

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn only_an_object_is_a_request() {
        for body in ["", "{", "[]", "3", "{} {}", "{\"a\":1,\"a\":2}", "{\"a\":NaN}", "{\"a\":1e999}", "\u{feff}{}"] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(Fields::parse(format!("{{\"a\":{}}}", "[".repeat(100_000)).as_bytes()).is_err());
    }

    #[test]
    fn numbers_are_checked_at_the_limits() {
        for (value, ok) in
            [("0", true), ("2", true), ("2.0001", false), ("-0.1", false), ("1e39", false), ("\"1\"", false)]
        {
            let got = fields(&format!("{{\"temperature\":{value}}}")).number("temperature", TEMPERATURE);
            assert_eq!(got.is_ok(), ok, "{value}");
        }
        assert!(fields("{\"top_p\":0}").number("top_p", TOP_P).is_err());
        assert!(fields("{\"top_p\":1}").number("top_p", TOP_P).is_ok());
    }

    #[test]
    fn integers_are_checked_at_the_limits() {
        let cases = [
            ("1", true),
            ("2147483647", true),
            ("2147483648", false),
            ("0", false),
            ("-1", false),
            ("1e3", false),
            ("9223372036854775808", false),
            ("18446744073709551616", false),
        ];
        for (value, ok) in cases {
            let got = fields(&format!("{{\"max_tokens\":{value}}}")).integer("max_tokens", MAX_TOKENS);
            assert_eq!(got.is_ok(), ok, "{value}");
        }
    }

    #[test]
    fn null_is_absent() {
        let fields = fields("{\"seed\":null,\"tools\":[],\"tool_choice\":\"auto\"}");
        assert!(fields.integer("seed", 0..=1).unwrap().is_none());
        assert!(fields.refuse("tools").is_ok());
        assert!(fields.refuse("tool_choice").is_err());
    }
}
