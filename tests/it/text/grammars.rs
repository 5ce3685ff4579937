//! Which tokens a grammar allows, over the vocabularies of published models: byte-level ones, SentencePiece with bytes, special tokens.

use super::{folder, gguf_file, shared};
use serde_json::{Value, json};
use std::time::Instant;
use trice::text::grammar::{Constraint, Grammar, Grammars};
use trice::text::{TextStream, Tokenizer};

fn tokenizers() -> Vec<(String, Tokenizer)> {
    let names = ["gpt-2", "llama-spm", "phi-3", "deepseek-llm", "falcon", "mpt"];
    let path = |name: &str| shared(&format!("tokenizers/llamacpp-vocabs/ggml-vocab-{name}.gguf"));
    let files = names.iter().filter_map(|name| Some(((*name).to_owned(), gguf_file(&path(name)?))));
    files.chain(shared("tokenizers/qwen2").map(|path| ("qwen2".to_owned(), folder(&path)))).collect()
}

fn is_allowed(mask: &[u32], id: u32) -> bool {
    (mask[id as usize / 32] >> (id % 32)) & 1 == 1
}

/// An answer of tokens drawn from those that may come, until it is complete; none of them ends it before.
fn walk(tokenizer: &Tokenizer, constraint: &mut Constraint, seed: u64) -> Vec<u32> {
    let (mut ids, mut dice) = (Vec::new(), seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    while !constraint.is_complete() {
        let mask = constraint.mask().unwrap();
        let allowed = (0..tokenizer.vocab_size() as u32).filter(|id| is_allowed(&mask, *id) && !tokenizer.is_end(*id));
        let allowed: Vec<u32> = allowed.collect();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let id = allowed[(dice >> 33) as usize % allowed.len()];
        constraint.take(id).unwrap();
        ids.push(id);
    }
    ids
}

fn text_of(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = TextStream::continuing(tokenizer);
    let text: String = ids.iter().map(|id| stream.push(*id)).collect();
    text + &stream.finish()
}

/// Any tokens that a schema allows spell what it holds for, in every vocabulary.
#[test]
fn what_is_allowed_is_valid_in_every_vocabulary() {
    let schema = json!({
        "type": "object",
        "properties": {
            "naïve": {"type": "string", "maxLength": 12},
            "kind": {"enum": ["a b", "c\"d", 3, null]},
            "list": {"type": "array", "items": {"type": "integer", "minimum": -20, "maximum": 300}, "maxItems": 4},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{1,4}$"},
        },
        "required": ["naïve", "kind", "list", "code"],
        "additionalProperties": false,
    });
    for (name, tokenizer) in tokenizers() {
        let start = Instant::now();
        let grammars = Grammars::new(&tokenizer, tokenizer.vocab_size() + 7).unwrap();
        let (ms, mut n_ids) = (start.elapsed().as_millis(), 0);
        let start = Instant::now();
        for seed in 1..6 {
            let mut constraint = grammars.constraint(&Grammar::JsonSchema(schema.clone())).unwrap();
            let ids = walk(&tokenizer, &mut constraint, seed);
            let text = text_of(&tokenizer, &ids);
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
            jsonschema::validate(&schema, &value).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
            n_ids += ids.len();
        }
        let us = start.elapsed().as_micros() / n_ids as u128;
        println!("{name}: {} tokens, {ms} ms once, {us} µs per token with the walk itself", tokenizer.vocab_size());
    }
}

/// The mask against a look at every token.
#[test]
fn the_mask_is_what_each_tokens_bytes_say() {
    for (name, tokenizer) in tokenizers() {
        let n_tokens = tokenizer.vocab_size();
        let grammars = Grammars::new(&tokenizer, n_tokens + 40).unwrap();
        let mut constraint = grammars.constraint(&Grammar::Regex("[ab]{1,4}".to_owned())).unwrap();
        // What of the text may still come: four letters, then three, of which none need come.
        for (n_left, may_end) in [(4, false), (3, true)] {
            let mask = constraint.mask().unwrap();
            assert_eq!(mask.len(), (n_tokens + 40).div_ceil(32));
            for id in 0..n_tokens as u32 + 40 {
                let piece = tokenizer.piece(id);
                let is_text = (1..=n_left).contains(&piece.len()) && piece.iter().all(|byte| b"ab".contains(byte));
                let wanted = is_text || (may_end && tokenizer.is_end(id));
                assert_eq!(is_allowed(&mask, id), wanted, "{name}: token {id}, {:?}", tokenizer.token(id));
            }
            let letter = (0..n_tokens as u32).find(|id| tokenizer.piece(*id) == b"a");
            constraint.take(letter.unwrap()).unwrap();
        }
    }
}

/// Such a chain would overflow the stack of any usual thread.
#[test]
fn a_long_chain_of_references_is_followed() {
    let Some((_, tokenizer)) = tokenizers().into_iter().next() else { return };
    let grammars = Grammars::new(&tokenizer, tokenizer.vocab_size()).unwrap();
    let next = |i: usize| json!({"type": "object", "properties": {"a": {"$ref": format!("#/$defs/r{}", i + 1)}}});
    let mut rules: serde_json::Map<String, Value> = (0..3000).map(|i| (format!("r{i}"), next(i))).collect();
    rules.insert("r3000".to_owned(), json!({"type": "null"}));
    let schema = json!({"$ref": "#/$defs/r0", "$defs": rules});
    let mut constraint = grammars.constraint(&Grammar::JsonSchema(schema)).unwrap();
    let mask = constraint.mask().unwrap();
    let brace = (0..tokenizer.vocab_size() as u32).find(|id| tokenizer.piece(*id) == b"{").unwrap();
    assert!(is_allowed(&mask, brace));
}
