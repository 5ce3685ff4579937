//! What a chat request says about functions: which there are, and whether one must be called.

use super::error::ApiError;
use super::fields::Fields;
use super::limits::{MAX_TOOLS, MAX_TOOLS_BYTES};
use serde_json::Value;
use trice::text::tools::call_grammar;
use trice::text::{Grammar, ReplyOptions, Tool};

/// The functions of a request.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// Those that the model may call.
    pub(crate) offered: Vec<Tool>,
    /// What the answer must be where it must be a call.
    pub(crate) forced: Option<Grammar>,
    one_call: bool,
}

impl Tools {
    /// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
    pub(crate) fn read(fields: &Fields) -> Result<Self, ApiError> {
        let mut tools = Self { offered: offered(fields)?, forced: None, one_call: !parallel(fields)? };
        let wrong = |message: &str| Err(ApiError::invalid("tool_choice", message));
        let Some(choice) = fields.get("tool_choice") else { return Ok(tools) };
        match choice {
            Value::String(choice) if choice == "auto" => return Ok(tools),
            // A model that knows of no function calls none.
            Value::String(choice) if choice == "none" => return Ok(Self::default()),
            Value::String(choice) if choice == "required" => {}
            Value::Object(_) if choice["type"] == "function" && choice["function"]["name"].is_string() => {}
            _ => return wrong("tool_choice must be none, auto, required or a function by its name"),
        }
        let name = choice["function"]["name"].as_str();
        let named: Vec<&Tool> =
            tools.offered.iter().filter(|tool| name.is_none_or(|name| tool.name() == name)).collect();
        if named.is_empty() {
            return wrong("tool_choice asks for a function that is not among the tools");
        }
        tools.forced = Some(call_grammar(named));
        Ok(tools)
    }

    /// How to read the answer.
    pub(crate) fn reply_options(&self) -> ReplyOptions {
        let tools = self.offered.iter().map(|tool| tool.name().to_owned()).collect();
        ReplyOptions { tools, one_call: self.one_call, ..ReplyOptions::default() }
    }
}

fn parallel(fields: &Fields) -> Result<bool, ApiError> {
    match fields.get("parallel_tool_calls") {
        None => Ok(true),
        Some(_) => fields.bool("parallel_tool_calls"),
    }
}

fn offered(fields: &Fields) -> Result<Vec<Tool>, ApiError> {
    let wrong = |message: String| ApiError::invalid("tools", message);
    let list = match fields.get("tools") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_TOOLS => list,
        Some(_) => return Err(wrong(format!("tools must be a list of at most {MAX_TOOLS} functions"))),
    };
    if list.iter().map(|tool| tool.to_string().len()).sum::<usize>() > MAX_TOOLS_BYTES {
        return Err(wrong(format!("tools may have at most {MAX_TOOLS_BYTES} bytes together")));
    }
    let tools = list.iter().map(|tool| Tool::new(tool.clone())).collect::<trice::Result<Vec<_>>>();
    let tools = tools.map_err(|error| wrong(error.to_string()))?;
    for (i, tool) in tools.iter().enumerate() {
        if tools[..i].iter().any(|other| other.name() == tool.name()) {
            return Err(wrong(format!("two tools are named {}", tool.name())));
        }
    }
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}},{"type":"function","function":{"name":"now"}}]"#;

    fn read(fields: &str) -> Result<Tools, ApiError> {
        Tools::read(&Fields::parse(format!("{{{fields}}}").as_bytes()).unwrap())
    }

    #[test]
    fn a_choice_says_what_may_and_what_must_be_called() {
        let with = |choice: &str| read(&format!(r#"{TOOLS},"tool_choice":{choice}"#)).unwrap();
        let names = |tools: &Tools| tools.reply_options().tools.join(" ");
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
        assert!(!read(TOOLS).unwrap().one_call);
        assert!(read(&format!(r#"{TOOLS},"parallel_tool_calls":false"#)).unwrap().one_call);
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
            &format!(r#"{TOOLS},"parallel_tool_calls":1"#),
        ] {
            assert!(read(fields).is_err(), "{fields:.80}");
        }
    }
}
