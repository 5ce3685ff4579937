//! Conversations as OpenAI's clients send them, checked and brought into the form that chat templates read.

use serde_json::{Map, Value, json};

/// Messages of a conversation.
pub const MAX_MESSAGES: usize = 4096;
/// Calls in a message.
pub const MAX_CALLS: usize = 128;

/// A field of a request that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {wanted}")]
pub struct WrongField {
    /// Which one: `messages[2].content`.
    pub field: String,
    /// What it must be: `must be a text`.
    pub wanted: String,
}

impl WrongField {
    pub(super) fn new(field: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { field: field.into(), wanted: wanted.into() }
    }
}

/// Reads a request's `messages`: a JSON object per message, with its calls' arguments as objects and its content as one text.
///
/// # Errors
/// The field that is wrong. Nothing that a message names is ever fetched.
pub fn read_messages(messages: &Value) -> Result<Vec<Value>, WrongField> {
    match messages {
        Value::Array(list) if !list.is_empty() && list.len() <= MAX_MESSAGES => {
            list.iter().enumerate().map(|(i, item)| message(&format!("messages[{i}]"), item)).collect()
        }
        _ => Err(WrongField::new("messages", format!("must be a list of 1 to {MAX_MESSAGES} messages"))),
    }
}

/// The beginning of an answer that is to go on, and the messages before it; none where the last of several is no assistant's, or calls functions.
pub fn split_begun(messages: &[Value]) -> Option<(&Value, &[Value])> {
    let (begun, before) = messages.split_last()?;
    let can = begun["role"] == "assistant" && begun["tool_calls"].is_null() && !before.is_empty();
    can.then_some((begun, before))
}

/// `at`: where it stands, for what is said about it.
fn message(at: &str, item: &Value) -> Result<Value, WrongField> {
    let mut message = Map::new();
    let mut set = |name: &str, value: Value| message.insert(name.to_owned(), value);
    match item["role"].as_str() {
        Some("system" | "developer") => set("role", json!("system")),
        Some("user") => set("role", json!("user")),
        Some("assistant") => {
            for name in ["reasoning_content", "name"] {
                set(name, optional_text(at, item, name)?);
            }
            set("tool_calls", calls(&format!("{at}.tool_calls"), &item["tool_calls"])?);
            set("role", json!("assistant"))
        }
        Some("tool") => {
            for name in ["tool_call_id", "name"] {
                set(name, optional_text(at, item, name)?);
            }
            set("role", json!("tool"))
        }
        _ => {
            return Err(WrongField::new(format!("{at}.role"), "must be system, user, assistant or tool"));
        }
    };
    // Who calls need not speak.
    let is_silent = item["content"].is_null() && !message.get("tool_calls").is_none_or(Value::is_null);
    let content = if is_silent { Value::Null } else { content(&format!("{at}.content"), &item["content"])? };
    message.insert("content".to_owned(), content);
    Ok(Value::Object(message))
}

/// A text, or a list of text parts. Parts of other kinds are refused, and nothing in them is ever fetched.
fn content(at: &str, content: &Value) -> Result<Value, WrongField> {
    let wrong = || WrongField::new(at, "must be a text or a list of text parts");
    let text = |part: &Value| match part["type"].as_str() {
        Some("text") => part["text"].as_str().map(str::to_owned).ok_or_else(wrong),
        _ => Err(wrong()),
    };
    match content {
        Value::String(_) => Ok(content.clone()),
        Value::Array(parts) => Ok(Value::String(parts.iter().map(text).collect::<Result<_, _>>()?)),
        _ => Err(wrong()),
    }
}

fn optional_text(at: &str, item: &Value, name: &str) -> Result<Value, WrongField> {
    match &item[name] {
        value @ (Value::Null | Value::String(_)) => Ok(value.clone()),
        _ => Err(WrongField::new(format!("{at}.{name}"), "must be a text")),
    }
}

/// The calls of an assistant's message; null where there are none.
fn calls(at: &str, calls: &Value) -> Result<Value, WrongField> {
    match calls {
        Value::Null => Ok(Value::Null),
        Value::Array(calls) if calls.is_empty() => Ok(Value::Null),
        Value::Array(calls) if calls.len() <= MAX_CALLS => {
            calls.iter().enumerate().map(|(i, item)| call(&format!("{at}[{i}]"), item)).collect()
        }
        _ => Err(WrongField::new(at, format!("must be a list of at most {MAX_CALLS} calls"))),
    }
}

/// A call with its arguments as an object: clients send them as a text, and templates print objects.
fn call(at: &str, item: &Value) -> Result<Value, WrongField> {
    let function = &item["function"];
    let Some(name) = function["name"].as_str().filter(|_| item["type"] == "function") else {
        return Err(WrongField::new(at, "must be a function's call with its name"));
    };
    let arguments = match &function["arguments"] {
        Value::String(text) if text.trim().is_empty() => Some(json!({})),
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    };
    let Some(arguments) = arguments.filter(Value::is_object) else {
        let field = format!("{at}.function.arguments");
        return Err(WrongField::new(field, "must be a JSON object, written as a text"));
    };
    let id = optional_text(at, item, "id")?;
    Ok(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Result<Vec<Value>, WrongField> {
        read_messages(&serde_json::from_str(list).unwrap())
    }

    #[test]
    fn messages_may_be_parts() {
        let list = r#"[{"role":"developer","content":"be brief"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#;
        let messages = read(list).unwrap();
        assert_eq!(messages[0], json!({"role": "system", "content": "be brief"}));
        assert_eq!(messages[1], json!({"role": "user", "content": "ab"}));
    }

    #[test]
    fn a_call_and_its_result_are_for_templates() {
        let called = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"now","arguments":"{\"zone\":\"UTC\"}"}}]}"#;
        let result = r#"{"role":"tool","tool_call_id":"c1","content":"noon"}"#;
        let messages = read(&format!("[{called},{result}]")).unwrap();
        assert_eq!(messages[0]["tool_calls"][0]["function"]["arguments"], json!({"zone": "UTC"}));
        assert!(messages[0]["content"].is_null());
        assert_eq!((&messages[1]["tool_call_id"], &messages[1]["content"]), (&json!("c1"), &json!("noon")));
        let empty = read(&format!("[{}]", called.replace(r#"{\"zone\":\"UTC\"}"#, ""))).unwrap();
        assert_eq!(empty[0]["tool_calls"][0]["function"]["arguments"], json!({}));
    }

    #[test]
    fn bad_messages_are_refused() {
        for messages in [
            r#""x""#,
            "[]",
            "null",
            r#"["x"]"#,
            r#"[{"role":"function","content":"x"}]"#,
            r#"[{"role":"tool","content":null}]"#,
            r#"[{"role":"tool","content":"x","tool_call_id":1}]"#,
            r#"[{"role":"user"}]"#,
            r#"[{"role":"user","content":null}]"#,
            r#"[{"role":"assistant","content":null,"tool_calls":[]}]"#,
            r#"[{"role":"assistant","tool_calls":{}}]"#,
            r#"[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]"#,
            r#"[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{"}}]}]"#,
            r#"[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"[]"}}]}]"#,
            r#"[{"role":"assistant","content":"x","reasoning_content":1}]"#,
            r#"[{"content":"x"}]"#,
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]"#,
        ] {
            assert!(read(messages).is_err(), "{messages}");
        }
    }
}
