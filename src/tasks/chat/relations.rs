//! Relations between what a text names, as triples that a schema holds the model to.

use super::{Task, check_text};
use crate::error::Result;
use crate::session::{FinishReason, GenerateOptions, Session};
use crate::text::Grammar;
use serde::{Deserialize, Serialize};
use serde_json::json;

const INSTRUCTION: &str = "List the relations between the people, places and things of this text, each as head, relation and tail. \
    Answer in JSON: {\"relations\": [{\"head\": …, \"relation\": …, \"tail\": …}, …]}.";

/// Parts of the context that the triples of a piece get, one in so many.
const TRIPLES_SHARE: usize = 2;

/// Triples of a piece at most, and characters of each of their parts: without a bound a model may go on for ever.
const MAX_TRIPLES: usize = 24;
const MAX_CHARACTERS: usize = 60;

/// What one thing is to another: `{head: "Marie Curie", relation: "born in", tail: "Warsaw"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Of what it is said.
    pub head: String,
    /// What is said.
    pub relation: String,
    /// Of what else.
    pub tail: String,
}

/// The relations of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relations {
    /// Each once, in the order of the text.
    pub relations: Vec<Relation>,
    /// `Length` where the list was cut: what was whole of it is there.
    pub finish_reason: FinishReason,
    /// Pieces that the text was read in.
    pub n_pieces: usize,
}

/// The relations that a model finds in `text`.
///
/// # Errors
/// `Invalid` for an empty text, `Limit` for a context that is too small to answer anything, `Unsupported` in a build without
/// grammars, `Cancelled` by `options.cancel`.
pub async fn relations(session: &mut Session, text: &str, options: &GenerateOptions) -> Result<Relations> {
    check_text(text)?;
    let options = GenerateOptions { grammar: Some(schema()), ..options.clone() };
    let mut task = Task { session, instruction: INSTRUCTION, options: &options };
    let answer_len = task.answer_len(TRIPLES_SHARE);
    let pieces = task.pieces(text, answer_len)?;
    let mut found = Relations { relations: Vec::new(), finish_reason: FinishReason::Stop, n_pieces: pieces.len() };
    for piece in &pieces {
        let answer = task.ask(piece, answer_len).await?;
        for relation in whole_triples(&answer.text) {
            if !found.relations.contains(&relation) {
                found.relations.push(relation);
            }
        }
        if answer.finish_reason == FinishReason::Length {
            found.finish_reason = FinishReason::Length;
        }
    }
    Ok(found)
}

fn schema() -> Grammar {
    let part = json!({"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS});
    let triple = json!({
        "type": "object",
        "properties": {"head": part, "relation": part, "tail": part},
        "required": ["head", "relation", "tail"],
        "additionalProperties": false,
    });
    Grammar::JsonSchema(json!({
        "type": "object",
        "properties": {"relations": {"type": "array", "items": triple, "maxItems": MAX_TRIPLES}},
        "required": ["relations"],
        "additionalProperties": false,
    }))
}

/// The triples of an answer, or those that are whole where it was cut.
fn whole_triples(answer: &str) -> Vec<Relation> {
    #[derive(Deserialize)]
    struct List {
        relations: Vec<Relation>,
    }
    let parsed = |text: &str| serde_json::from_str::<List>(text).ok().map(|list| list.relations);
    let cut = || answer.rmatch_indices('}').find_map(|(at, _)| parsed(&format!("{}]}}", &answer[..=at])));
    parsed(answer).or_else(cut).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::whole_triples;

    #[test]
    fn a_cut_list_keeps_what_is_whole() {
        let one = r#"{"relations": [{"head": "a", "relation": "is}", "tail": "b"}"#;
        let heads = |text: &str| whole_triples(text).into_iter().map(|triple| triple.head).collect::<Vec<_>>();
        assert_eq!(heads(&format!("{one}]}}")), ["a"]);
        assert_eq!(heads(one), ["a"]);
        assert_eq!(heads(&format!(r#"{one}, {{"head": "c", "relation": "}}"#)), ["a"]);
        assert_eq!(heads(&format!(r#"{one}, {{"head": "c", "relation": "d", "tail": "e"}}, {{"h"#)), ["a", "c"]);
        assert!(heads(r#"{"relations": [{"head": "a"#).is_empty());
    }
}
