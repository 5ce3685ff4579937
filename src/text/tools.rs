//! Functions that a model may call: their descriptions, which there are, whether one must be called, and the grammar of an answer
//! that must be a call.

use super::grammar::Grammar;
use super::messages::WrongField;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// Characters of a function's name.
const MAX_NAME: usize = 64;
/// Functions of a conversation.
pub const MAX_TOOLS: usize = 128;
/// Bytes of all their descriptions.
pub const MAX_TOOLS_BYTES: usize = 256 << 10;

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
}

/// The functions of a request.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// Those that the model may call.
    pub offered: Vec<Tool>,
    /// What the answer must be where it must be a call.
    pub forced: Option<Grammar>,
}

impl Tools {
    /// Reads a request's `tools`, a list or null, and `tool_choice`: null, `"auto"`, `"none"`, `"required"` or a function by its name.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn read(tools: &Value, choice: &Value) -> Result<Self, WrongField> {
        let offered = offered(tools).map_err(|wanted| WrongField::new("tools", wanted))?;
        let wrong = |wanted: &str| Err(WrongField::new("tool_choice", wanted));
        match choice {
            Value::Null => return Ok(Self { offered, forced: None }),
            Value::String(choice) if choice == "auto" => return Ok(Self { offered, forced: None }),
            // A model that knows of no function calls none.
            Value::String(choice) if choice == "none" => return Ok(Self::default()),
            Value::String(choice) if choice == "required" => {}
            Value::Object(_) if choice["type"] == "function" && choice["function"]["name"].is_string() => {}
            _ => return wrong("must be none, auto, required or a function by its name"),
        }
        let name = choice["function"]["name"].as_str();
        let named: Vec<&Tool> = offered.iter().filter(|tool| name.is_none_or(|name| tool.name() == name)).collect();
        if named.is_empty() {
            return wrong("must name a function that is among the tools");
        }
        let forced = Some(call_grammar(named));
        Ok(Self { offered, forced })
    }

    /// What `ReplyParser` must know of them.
    pub fn names(&self) -> Vec<String> {
        self.offered.iter().map(|tool| tool.name.clone()).collect()
    }

    /// What chat templates are given.
    pub fn descriptions(&self) -> Vec<Value> {
        self.offered.iter().map(|tool| tool.description.clone()).collect()
    }
}

/// The error is what the list must be.
fn offered(list: &Value) -> Result<Vec<Tool>, String> {
    let list = match list {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) if list.len() <= MAX_TOOLS => list,
        _ => return Err(format!("must be a list of at most {MAX_TOOLS} functions")),
    };
    if list.iter().map(|tool| tool.to_string().len()).sum::<usize>() > MAX_TOOLS_BYTES {
        return Err(format!("must have at most {MAX_TOOLS_BYTES} bytes together"));
    }
    let read = |(i, tool): (usize, &Value)| Tool::new(tool.clone()).map_err(|error| format!("[{i}]: {error}"));
    let tools = list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    for (i, tool) in tools.iter().enumerate() {
        if tools[..i].iter().any(|other| other.name == tool.name) {
            return Err(format!("must have names of their own: two are named {}", tool.name));
        }
    }
    Ok(tools)
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
        // Objects that complete each other are not whole alone.
        let closes = !tool.parameters.to_string().contains("\"allOf\"");
        parameters.insert(tool.name.clone(), moved(&tool.parameters, &arguments, closes, false));
    }
    Grammar::JsonSchema(json!({"anyOf": calls, "$defs": parameters}))
}

/// Keys whose values are no schemas.
const VALUES: [&str; 4] = ["const", "enum", "default", "examples"];
/// Keys beside which `properties` need not be all that there is.
const OPENING: [&str; 8] =
    ["additionalProperties", "unevaluatedProperties", "patternProperties", "anyOf", "oneOf", "if", "not", "$ref"];

/// A schema whose references to itself hold where it stands at `root` of another. A function takes the arguments that it names and
/// no others, whether its schema says so or not: with `closes` an object that lists its properties has those alone. `is_names`: these
/// are names with a schema each.
fn moved(schema: &Value, root: &str, closes: bool, is_names: bool) -> Value {
    let fields = match schema {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.iter().map(|item| moved(item, root, closes, false)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return schema.clone(),
    };
    let field = |(key, value): (&String, &Value)| {
        let value = match (key.as_str(), value.as_str().and_then(|text| text.strip_prefix('#'))) {
            ("$ref", Some(rest)) => json!(format!("{root}{rest}")),
            (key, _) if !is_names && VALUES.contains(&key) => value.clone(),
            // Below them stand names, each with a schema.
            ("properties" | "$defs" | "definitions", _) if !is_names => moved(value, root, closes, true),
            _ => moved(value, root, closes, false),
        };
        (key.clone(), value)
    };
    let mut moved: Map<String, Value> = fields.iter().map(field).collect();
    let is_open = OPENING.iter().any(|key| fields.contains_key(*key));
    if closes && !is_names && !is_open && fields.get("properties").is_some_and(Value::is_object) {
        moved.insert("additionalProperties".to_owned(), json!(false));
    }
    Value::Object(moved)
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

    #[test]
    fn a_function_takes_what_it_names() {
        let closed = json!({"properties": {"a": true}, "additionalProperties": false});
        let open = json!({"properties": {"a": true}, "additionalProperties": {"type": "string"}});
        let listed = json!({"properties": {"a": true}});
        for (schema, wanted) in [
            (listed.clone(), closed.clone()),
            (open.clone(), open.clone()),
            (json!({"type": "object"}), json!({"type": "object"})),
            (json!({"items": [&listed]}), json!({"items": [&closed]})),
            (json!({"anyOf": [&listed]}), json!({"anyOf": [&closed]})),
            (json!({"enum": [&listed]}), json!({"enum": [&listed]})),
            // A property may be called so.
            (
                json!({"properties": {"properties": &listed}}),
                json!({"properties": {"properties": &closed}, "additionalProperties": false}),
            ),
            (json!({"$defs": {"city": &listed}}), json!({"$defs": {"city": &closed}})),
        ] {
            assert_eq!(moved(&schema, "#", true, false), wanted);
        }
        let both = json!({"allOf": [{"$ref": "#/$defs/a"}, &listed], "$defs": {"a": &listed}});
        let tool = tool(json!({"name": "f", "parameters": both})).unwrap();
        let Grammar::JsonSchema(schema) = call_grammar([&tool]) else { panic!("a schema wanted") };
        assert_eq!(schema["$defs"]["f"]["allOf"][1], listed);
    }

    const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}},{"type":"function","function":{"name":"now"}}]"#;

    fn read(fields: &str) -> Result<Tools, WrongField> {
        let fields: Value = serde_json::from_str(&format!("{{{fields}}}")).unwrap();
        Tools::read(&fields["tools"], &fields["tool_choice"])
    }

    #[test]
    fn a_choice_says_what_may_and_what_must_be_called() {
        let with = |choice: &str| read(&format!(r#"{TOOLS},"tool_choice":{choice}"#)).unwrap();
        let names = |tools: &Tools| tools.names().join(" ");
        let n_calls = |tools: &Tools| match &tools.forced {
            Some(Grammar::JsonSchema(schema)) => schema["anyOf"].as_array().unwrap().len(),
            _ => 0,
        };
        for (choice, offered, n) in [
            (r#""auto""#, "weather now", 0),
            (r#""none""#, "", 0),
            (r#""required""#, "weather now", 2),
            (r#"{"type":"function","function":{"name":"now"}}"#, "weather now", 1),
        ] {
            let tools = with(choice);
            assert_eq!((names(&tools).as_str(), n_calls(&tools)), (offered, n), "{choice}");
        }
        assert!(read(r#""tools":[],"tool_choice":"auto""#).unwrap().offered.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let many = format!(r#""tools":[{}1]"#, "1,".repeat(MAX_TOOLS));
        let long = format!(
            r#""tools":[{{"type":"function","function":{{"name":"f","description":"{}"}}}}]"#,
            "a".repeat(MAX_TOOLS_BYTES)
        );
        for fields in [
            r#""tools":{}"#,
            r#""tools":[{}]"#,
            r#""tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]"#,
            &many,
            &long,
            r#""tool_choice":"required""#,
            &format!(r#"{TOOLS},"tool_choice":"some""#),
            &format!(r#"{TOOLS},"tool_choice":{{"type":"function","function":{{"name":"rain"}}}}"#),
            &format!(r#"{TOOLS},"tool_choice":{{"type":"function"}}"#),
        ] {
            assert!(read(fields).is_err(), "{fields:.80}");
        }
    }
}
