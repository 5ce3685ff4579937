//! Functions that a model may call: their descriptions, and the grammar of an answer that must be a call.

use super::grammar::Grammar;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// Characters of a function's name.
const MAX_NAME: usize = 64;

/// A function that a model may call, as OpenAI's clients describe it: `{"type": "function", "function": {"name": …, "description": …,
/// "parameters": …}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    name: String,
    /// A JSON schema of its arguments.
    parameters: Value,
    description: Value,
}

impl Tool {
    /// Checks a description.
    ///
    /// # Errors
    /// `Invalid` for what describes no function.
    pub fn new(description: Value) -> Result<Self> {
        let wrong = |what: &str| Err(Error::invalid(format!("a tool's {what}")));
        if description["type"] != "function" {
            return wrong("type must be function");
        }
        let function = &description["function"];
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let name = match function["name"].as_str() {
            Some(name) if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_plain) => name.to_owned(),
            _ => return wrong("function.name must be 1 to 64 letters, digits, underscores or hyphens"),
        };
        let parameters = match &function["parameters"] {
            Value::Null => json!({"type": "object"}),
            schema @ Value::Object(_) => schema.clone(),
            _ => return wrong("function.parameters must be a JSON schema"),
        };
        Ok(Self { name, parameters, description })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What chat templates are given.
    pub fn description(&self) -> &Value {
        &self.description
    }
}

/// The grammar of one call of one of `tools`, which `ReplyParser` finds in the answer.
pub fn call_grammar<'t>(tools: impl IntoIterator<Item = &'t Tool>) -> Grammar {
    let (mut calls, mut parameters) = (Vec::new(), Map::new());
    for tool in tools {
        let arguments = format!("#/$defs/{}", tool.name);
        calls.push(json!({
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": {"$ref": &arguments}},
            "required": ["name", "arguments"],
            "additionalProperties": false,
        }));
        parameters.insert(tool.name.clone(), moved(&tool.parameters, &arguments));
    }
    Grammar::JsonSchema(json!({"anyOf": calls, "$defs": parameters}))
}

/// A schema whose references to itself hold where it stands at `root` of another.
fn moved(schema: &Value, root: &str) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| moved(item, root)).collect(),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| match value.as_str().and_then(|text| text.strip_prefix('#')) {
                Some(rest) if key == "$ref" => (key.clone(), json!(format!("{root}{rest}"))),
                _ => (key.clone(), moved(value, root)),
            };
            fields.iter().map(field).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(function: Value) -> Result<Tool> {
        Tool::new(json!({"type": "function", "function": function}))
    }

    #[test]
    fn what_describes_no_function_is_refused() {
        for (function, wanted) in [
            (json!({}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"name": "a b"}), "name"),
            (json!({"name": "a".repeat(65)}), "name"),
            (json!({"name": "f", "parameters": 1}), "parameters"),
        ] {
            let error = tool(function).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(Tool::new(json!({"type": "web_search"})).is_err());
        assert_eq!(tool(json!({"name": "now"})).unwrap().parameters, json!({"type": "object"}));
    }

    #[test]
    fn references_of_parameters_stay_theirs() {
        let parameters = json!({
            "type": "object",
            "properties": {"$ref": {"$ref": "#/$defs/city"}, "next": {"anyOf": [{"$ref": "#"}]}},
            "$defs": {"city": {"type": "string"}},
        });
        let weather = tool(json!({"name": "weather", "parameters": parameters})).unwrap();
        let Grammar::JsonSchema(schema) = call_grammar([&weather]) else { panic!("a schema wanted") };
        let moved = &schema["$defs"]["weather"];
        assert_eq!(moved["properties"]["$ref"]["$ref"], "#/$defs/weather/$defs/city");
        assert_eq!(moved["properties"]["next"]["anyOf"][0]["$ref"], "#/$defs/weather");
    }
}
