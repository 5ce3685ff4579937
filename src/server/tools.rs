//! What a chat request says about functions: which there are, and whether one must be called.

use super::error::ApiError;
use super::fields::Fields;
use serde_json::Value;
use trice::text::{ReplyOptions, Tools};

/// Reads `tools`, `tool_choice` and `parallel_tool_calls`: the functions, and how to read the answer.
pub(crate) fn tools(fields: &Fields) -> Result<(Tools, ReplyOptions), ApiError> {
    let value = |name| fields.get(name).unwrap_or(&Value::Null);
    let tools = Tools::read(value("tools"), value("tool_choice"))?;
    let one_call = fields.get("parallel_tool_calls").is_some() && !fields.bool("parallel_tool_calls")?;
    let reply = ReplyOptions { tools: tools.names(), one_call, ..ReplyOptions::default() };
    Ok((tools, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_may_be_held_to_one() {
        let one_call =
            |fields: &str| tools(&Fields::parse(fields.as_bytes()).unwrap()).map(|(_, reply)| reply.one_call);
        assert!(!one_call("{}").unwrap());
        assert!(one_call(r#"{"parallel_tool_calls":false}"#).unwrap());
        assert!(one_call(r#"{"parallel_tool_calls":1}"#).is_err());
    }
}
