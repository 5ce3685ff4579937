//! A folder's tokenizer as the keys of a GGUF file: the way back of `gguf_vocab`. What those keys cannot say is refused.

use super::gguf_vocab::{self, SPACE, key, token_type};
use super::pre_tokenizers::{DIGIT, GPT2, PreTokenizer};
use super::precheck::{self, Role, Vocabulary, list};
use super::tokenizer::{Tokenizer, folder_file, side_json};
use crate::error::{Error, Result};
use crate::format::{Checkpoint, Value};
use serde_json::Value as Json;

type Keys = Vec<(String, Value)>;

/// The keys that say what `tokenizer`, which is that of the folder `checkpoint`, does.
///
/// # Errors
/// `Unsupported` for a tokenizer that GGUF's keys cannot describe.
pub async fn gguf_keys(checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Result<Keys> {
    let name = checkpoint.name();
    let config = side_json(checkpoint, "tokenizer_config.json").await?;
    let (file_name, file) = folder_file(checkpoint, config.as_ref()).await?;
    let tokens = precheck::check(file_name, &file)?;
    let mut keys = match file["model"]["type"].as_str() {
        Some("WordPiece") => word_piece(&file, &tokens),
        Some("BPE") if file["model"]["byte_fallback"] == true => sentence_piece(&file, &tokens),
        Some("BPE") => byte_level(name, &file, &tokens)?,
        other => {
            let what = format!("writing the tokenizer of {name} to GGUF: its model is {}", other.unwrap_or("unknown"));
            return Err(Error::unsupported(what));
        }
    };
    keys.extend(marks(tokenizer));
    let unknown = file["model"]["unk_token"].as_str().and_then(|text| tokenizer.id(text));
    keys.extend(unknown.map(|id| (key::UNKNOWN.to_owned(), Value::U64(id.into()))));
    Ok(keys)
}

/// What begins and ends texts and answers.
fn marks(tokenizer: &Tokenizer) -> Keys {
    let marks = tokenizer.marks();
    let mut ends = marks.ends.iter().filter(|id| Some(**id) != marks.eos).copied();
    let ids = [
        (key::BOS, marks.bos),
        (key::EOS, marks.eos),
        (key::EOT, ends.next()),
        (key::EOM, ends.next()),
        (key::CLS, marks.prefix.first().copied()),
        (key::SEP, marks.suffix.first().copied()),
    ];
    let mut keys: Keys =
        ids.into_iter().filter_map(|(key, id)| Some((key.to_owned(), Value::U64(id?.into())))).collect();
    let adds_eos = marks.eos.is_some_and(|eos| marks.suffix.contains(&eos));
    keys.push((key::ADD_BOS.to_owned(), Value::Bool(tokenizer.added_bos().is_some())));
    keys.push((key::ADD_EOS.to_owned(), Value::Bool(adds_eos)));
    keys
}

fn vocabulary(model: &str, texts: Vec<String>, kinds: Vec<i64>) -> Keys {
    vec![
        (key::MODEL.to_owned(), Value::String(model.to_owned())),
        (key::TOKENS.to_owned(), Value::Strings(texts)),
        (key::TYPES.to_owned(), Value::Ints(kinds)),
    ]
}

/// Texts and kinds by id. Ids that the file leaves out get a text that no other token has.
fn texts_and_kinds(tokens: &Vocabulary, spell: impl Fn(&str) -> (String, i64)) -> (Vec<String>, Vec<i64>) {
    let entry = |(id, token): (usize, &Option<precheck::Entry>)| match token {
        None => (format!("[PAD{id}]"), token_type::UNUSED),
        Some(token) => match token.role {
            Role::Special => (token.text.clone(), token_type::CONTROL),
            Role::Added => (token.text.clone(), token_type::USER_DEFINED),
            Role::Word => spell(&token.text),
        },
    };
    tokens.iter().enumerate().map(entry).unzip()
}

fn word_piece(file: &Json, tokens: &Vocabulary) -> Keys {
    // GGUF marks the beginning of a word where WordPiece marks its continuation.
    let (texts, kinds) = texts_and_kinds(tokens, |text| {
        let text = match text.strip_prefix("##") {
            Some(rest) => rest.to_owned(),
            None if text.starts_with('[') && text.ends_with(']') => text.to_owned(),
            None => format!("{SPACE}{text}"),
        };
        (text, token_type::NORMAL)
    });
    let mut keys = vocabulary("bert", texts, kinds);
    if file["normalizer"]["lowercase"] != true {
        keys.push((key::LOWER_CASE.to_owned(), Value::Bool(false)));
    }
    keys
}

/// Merges by their rank; a token's score is how early it is made.
fn sentence_piece(file: &Json, tokens: &Vocabulary) -> Keys {
    let (texts, kinds) = texts_and_kinds(tokens, |text| {
        let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
        (text.to_owned(), if is_byte { token_type::BYTE } else { token_type::NORMAL })
    });
    let merges = list(file["model"].get("merges"));
    let mut ranks = std::collections::HashMap::new();
    for (rank, merge) in merges.iter().enumerate() {
        ranks.entry(merge_texts(merge).concat()).or_insert(rank);
    }
    let score = |text: &String| -(*ranks.get(text).unwrap_or(&merges.len()) as f32);
    let scores = texts.iter().map(score).collect();
    let normalizer = file["normalizer"].to_string();
    let mut keys = vocabulary("llama", texts, kinds);
    keys.push((key::SCORES.to_owned(), Value::Floats(scores)));
    keys.push((key::ADD_SPACE.to_owned(), Value::Bool(normalizer.contains("Prepend"))));
    keys
}

fn byte_level(name: &str, file: &Json, tokens: &Vocabulary) -> Result<Keys> {
    let (texts, kinds) = texts_and_kinds(tokens, |text| (text.to_owned(), token_type::NORMAL));
    let merges = list(file["model"].get("merges")).iter().map(|merge| merge_texts(merge).join(" ")).collect();
    let mut patterns = Vec::new();
    collect_patterns(&file["pre_tokenizer"], &mut patterns);
    let nfc = file["normalizer"]["type"] == "NFC";
    let ignore_merges = file["model"]["ignore_merges"] == true;
    let Some(pre) = PreTokenizer::name_of(&patterns, nfc, ignore_merges) else {
        let more = format!("NFC: {nfc}, ignore_merges: {ignore_merges}");
        let what = format!("writing the tokenizer of {name} to GGUF: it splits words by {patterns:?} ({more})");
        return Err(Error::unsupported(what));
    };
    let mut keys = vocabulary("gpt2", texts, kinds);
    keys.push((key::MERGES.to_owned(), Value::Strings(merges)));
    keys.push((key::PRE.to_owned(), Value::String(pre.to_owned())));
    Ok(keys)
}

/// A merge given as two texts or as one with a space between them.
fn merge_texts(merge: &Json) -> Vec<String> {
    match merge.as_str() {
        Some(text) => gguf_vocab::merge_pair(text).map(str::to_owned).to_vec(),
        None => list(Some(merge)).iter().filter_map(Json::as_str).map(str::to_owned).collect(),
    }
}

/// The splitting patterns of a pre-tokenizer, in order.
fn collect_patterns(step: &Json, patterns: &mut Vec<String>) {
    match step["type"].as_str() {
        Some("Sequence") => list(step.get("pretokenizers")).iter().for_each(|step| collect_patterns(step, patterns)),
        Some("Split") => patterns.extend(step["pattern"]["Regex"].as_str().map(str::to_owned)),
        Some("Digits") => patterns.push(DIGIT.to_owned()),
        Some("ByteLevel") if step["use_regex"] != false => patterns.push(GPT2.to_owned()),
        Some("ByteLevel") => {}
        other => patterns.push(format!("{other:?}")),
    }
}
