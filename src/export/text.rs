//! A folder's tokenizer and chat template as GGUF's keys.

use crate::error::{Error, Result};
use crate::format::{Checkpoint, Metadata, Value};
use crate::text::{ChatTemplate, Tokenizer, gguf_keys};

/// A text that most ways to split words take apart differently.
const PROBE: &str =
    "Once upon a time, there were 1234 naïve cats; they'd DANCE...\n\n  Wasn't it 3.5% \u{1F600} 猫?\te\u{301} <end>";

/// The tokenizer and the chat template. What they cannot say shows in a text that the new tokenizer splits otherwise.
pub(super) async fn text_keys(checkpoint: &Checkpoint, others: &Metadata) -> Result<Vec<(String, Value)>> {
    let tokenizer = Tokenizer::from_checkpoint(checkpoint).await?;
    let mut keys = gguf_keys(checkpoint, &tokenizer).await?;
    let (template, tool_use) = ChatTemplate::sources(checkpoint).await?;
    for (key, source) in [("tokenizer.chat_template", template), ("tokenizer.chat_template.tool_use", tool_use)] {
        keys.extend(source.map(|source| (key.to_owned(), Value::String(source.text))));
    }
    let mut metadata = others.clone();
    metadata.0.extend(keys.iter().cloned());
    let written = Tokenizer::from_gguf(checkpoint.name(), &metadata)?;
    if written.encode_document(PROBE)? != tokenizer.encode_document(PROBE)?
        || written.end_tokens() != tokenizer.end_tokens()
        || written.vocab_size() != tokenizer.vocab_size()
    {
        let what = format!("writing the tokenizer of {} to GGUF: it would split texts otherwise", checkpoint.name());
        return Err(Error::unsupported(what));
    }
    Ok(keys)
}
