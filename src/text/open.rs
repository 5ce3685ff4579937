//! A checkpoint's tokenizer and chat template, wherever its kind of file keeps them.

use super::chat::ChatTemplate;
use super::tokenizer::{SideFiles, Tokenizer};
use crate::error::{Error, Result};
use crate::format::{Checkpoint, Config};
use serde_json::Value;

/// The tokenizer of `checkpoint` and its chat template, if it has one.
///
/// # Errors
/// `Format` when there is no tokenizer or a file is no valid one.
pub async fn open(checkpoint: &Checkpoint) -> Result<(Tokenizer, Option<ChatTemplate>)> {
    match checkpoint.config() {
        Config::Gguf(metadata) => {
            let tokenizer = Tokenizer::from_gguf(checkpoint.name(), metadata)?;
            let template = metadata.string("tokenizer.chat_template");
            Ok((tokenizer, template.map(|source| ChatTemplate::new(checkpoint.name(), source)).transpose()?))
        }
        Config::HuggingFace(config) => open_folder(checkpoint, config).await,
    }
}

async fn open_folder(checkpoint: &Checkpoint, config: &Value) -> Result<(Tokenizer, Option<ChatTemplate>)> {
    let tokenizer_config = json(checkpoint, "tokenizer_config.json").await?;
    let special_tokens_map = json(checkpoint, "special_tokens_map.json").await?;
    let generation_config = json(checkpoint, "generation_config.json").await?;
    let side = SideFiles {
        tokenizer_config: tokenizer_config.as_ref(),
        special_tokens_map: special_tokens_map.as_ref(),
        generation_config: generation_config.as_ref(),
        config: Some(config),
    };
    let tokenizer = if let Some(bytes) = checkpoint.side_text("tokenizer.json").await? {
        Tokenizer::from_json("tokenizer.json", &bytes, &side)?
    } else if let Some(bytes) = checkpoint.side_text("vocab.txt").await? {
        Tokenizer::from_vocab_txt("vocab.txt", &String::from_utf8_lossy(&bytes), &side)?
    } else {
        let reason = "a tokenizer is missing (tokenizer.json, or vocab.txt beside it)";
        return Err(Error::format(checkpoint.name(), reason));
    };
    let template = match checkpoint.side_text("chat_template.jinja").await? {
        Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        None => tokenizer_config.as_ref().and_then(default_template),
    };
    Ok((tokenizer, template.map(|source| ChatTemplate::new(checkpoint.name(), &source)).transpose()?))
}

/// A side file as JSON; none where there is no such file.
async fn json(checkpoint: &Checkpoint, name: &str) -> Result<Option<Value>> {
    let Some(bytes) = checkpoint.side_text(name).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::format(name, format!("JSON wanted: {error}")))
}

/// `chat_template`: one text, or a list of named ones of which `default` is meant.
fn default_template(config: &Value) -> Option<String> {
    match config.get("chat_template")? {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))?;
            default.get("template").and_then(Value::as_str).map(str::to_owned)
        }
        _ => None,
    }
}
