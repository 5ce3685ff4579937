//! Text to tokens and back, whole and as it streams, for byte-level vocabularies without a normalizer: nothing may be lost,
//! whatever the text is.

use super::{folder, gguf_file, shared};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::collections::HashSet;
use trice::text::{StopFinder, TextStream, Tokenizer};

fn tokenizers() -> Vec<(String, Tokenizer)> {
    let names = ["gpt-2", "starcoder", "refact", "falcon", "mpt", "deepseek-coder", "deepseek-llm"];
    let mut all: Vec<(String, Tokenizer)> = names
        .into_iter()
        .filter_map(|name| {
            let path = shared(&format!("tokenizers/llamacpp-vocabs/ggml-vocab-{name}.gguf"))?;
            Some((name.to_owned(), gguf_file(&path)))
        })
        .collect();
    all.extend(shared("tokenizers/gpt2").map(|path| ("gpt2/tokenizer.json".to_owned(), folder(&path))));
    all
}

/// Text as people, programs and attackers write it: any characters, runs of spaces, words, names of special tokens.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => proptest::collection::vec(any::<char>(), 0..6).prop_map(String::from_iter),
        2 => "[ \t\r\n\u{a0}\u{3000}]{0,5}",
        4 => "[a-zA-Z']{1,12}|[0-9]{1,9}|[.,;:!?(){}<>|_-]{1,4}",
        2 => "[α-ωа-яا-ي一-龥ぁ-ん가-힣ऀ-ॿ]{1,6}|[😀-🙏]\u{200d}?",
        1 => prop::sample::select(vec!["<|endoftext|>", "<s>", "</s>", "<0x0A>", "▁", "Ġ", "<｜end▁of▁sentence｜>", "e\u{301}"])
            .prop_map(str::to_owned),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn config(cases: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(cases) }
}

/// The streamed pieces, which together are the text.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut stream = TextStream::new(tokenizer);
    let mut pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
    pieces.push(stream.finish());
    pieces
}

/// The bytes that no token is. Some vocabularies lack a few, such as Falcon's vertical tab, and drop them as their models'
/// own tokenizers do.
fn unspelled(tokenizer: &Tokenizer) -> Vec<u8> {
    let pieces: HashSet<&[u8]> = (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.piece(id)).collect();
    (0..=u8::MAX).filter(|byte| !pieces.contains(&[*byte][..])).collect()
}

/// Encodes, decodes, and streams; the names of special tokens stay text all the way.
fn check(name: &str, tokenizer: &Tokenizer, text: &str) {
    let ids = tokenizer.encode_text(text).unwrap();
    assert_eq!(tokenizer.decode(&ids), text, "{name}: {ids:?}");
    assert_eq!(streamed(tokenizer, &ids).concat(), text, "{name}: {ids:?}");
    let is_special = |id: &u32| tokenizer.token(*id).is_some_and(|token| tokenizer.special_tokens().contains(&token));
    assert!(!ids.iter().any(is_special), "{name}: {text:?} became {ids:?}");
}

#[test]
fn what_was_encoded_decodes() {
    let Some(inputs) = shared("tokenizers/llamacpp-vocabs/ggml-vocab-gpt-2.gguf.inp") else { return };
    let inputs = std::fs::read_to_string(inputs).unwrap();
    for (name, tokenizer) in tokenizers() {
        inputs.split("\n__ggml_vocab_test__\n").for_each(|text| check(&name, &tokenizer, text));
        let missing = unspelled(&tokenizer);
        println!("vocab {name} cannot spell {missing:02x?}");
        // The character that marks the names of special tokens in prompts is dropped from texts.
        let is_spelled = |character: &char| {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).bytes();
            *character != '\u{E0F5}' && bytes.into_iter().all(|byte| !missing.contains(&byte))
        };
        let n_characters = Cell::new(0);
        let mut runner = TestRunner::new(config(256));
        let outcome = runner.run(&texts(), |text| {
            let text: String = text.chars().filter(is_spelled).collect();
            check(&name, &tokenizer, &text);
            n_characters.set(n_characters.get() + text.chars().count());
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{name}: {error}");
        }
        assert!(n_characters.get() > 2_000, "{name}: only {n_characters:?} characters were tried");
    }
}

#[test]
fn stop_strings_are_found_wherever_tokens_end() {
    let Some(path) = shared("tokenizers/llamacpp-vocabs/ggml-vocab-gpt-2.gguf") else { return };
    let tokenizer = gguf_file(&path);
    let mut runner = TestRunner::new(config(512));
    // A stop is cut out of the text at random, so that it begins and ends inside of tokens and of what they share.
    let cases = (texts(), any::<prop::sample::Index>(), 1_usize..12);
    let outcome = runner.run(&cases, |(text, at, len)| {
        let characters: Vec<char> = text.chars().filter(|character| *character != '\u{E0F5}').collect();
        prop_assume!(!characters.is_empty());
        let text: String = characters.iter().collect();
        let stop: String = characters.iter().skip(at.index(characters.len())).take(len).collect();
        let mut finder = StopFinder::new(std::slice::from_ref(&stop));
        let mut shown = String::new();
        for piece in streamed(&tokenizer, &tokenizer.encode_text(&text).unwrap()) {
            let emit = finder.push(&piece);
            shown.push_str(&emit.text);
            if emit.stopped {
                break;
            }
        }
        prop_assert_eq!(shown, text.split(&stop).next().unwrap());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_prompt_parses_the_special_tokens_that_a_text_keeps() {
    for (name, tokenizer) in tokenizers() {
        for special in tokenizer.special_tokens() {
            let text = format!("a{special}b");
            let id = tokenizer.id(special).unwrap();
            assert!(tokenizer.encode_prompt(&text).unwrap().contains(&id), "{name}: {special}");
            assert!(!tokenizer.encode_text(&text).unwrap().contains(&id), "{name}: {special}");
            assert!(!tokenizer.encode_document(&text).unwrap()[1..].contains(&id), "{name}: {special}");
        }
    }
}
