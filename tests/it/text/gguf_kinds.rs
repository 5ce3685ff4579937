//! The kinds of vocabularies that GGUF names: SentencePiece's two against SentencePiece itself, and the splitting rules of
//! byte-level ones against words cut by hand.

use serde::Deserialize;
use trice::format::{Metadata, Value};
use trice::text::Tokenizer;

/// One entry of `tests/golden/sentencepiece_models.json`.
#[derive(Deserialize)]
struct Golden {
    name: String,
    model: String,
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i64>,
    unknown: u64,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
    charsmap: Vec<i64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn metadata(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Metadata {
    Metadata(keys.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect())
}

impl Golden {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../../golden/sentencepiece_models.json")).unwrap()
    }

    fn metadata(&self) -> Metadata {
        metadata([
            ("model", Value::String(self.model.clone())),
            ("tokens", Value::Strings(self.tokens.clone())),
            ("scores", Value::Floats(self.scores.clone())),
            ("token_type", Value::Ints(self.types.clone())),
            ("unknown_token_id", Value::U64(self.unknown)),
            ("bos_token_id", Value::U64(1)),
            ("eos_token_id", Value::U64(2)),
            ("add_space_prefix", Value::Bool(self.add_space_prefix)),
            ("remove_extra_whitespaces", Value::Bool(self.remove_extra_whitespaces)),
            ("precompiled_charsmap", Value::Ints(self.charsmap.clone())),
        ])
    }
}

#[test]
fn sentence_piece_vocabularies_encode_as_sentence_piece_does() {
    for golden in Golden::all() {
        let tokenizer = Tokenizer::from_gguf(&golden.name, &golden.metadata()).unwrap();
        let mut right = 0;
        for Case { text, ids } in &golden.cases {
            let found = tokenizer.encode_text(text).unwrap();
            if found == *ids {
                right += 1;
            } else {
                println!("{}, {text:?}: wanted {ids:?}, found {found:?}", golden.name);
            }
            // Only bytes spell everything; what SentencePiece writes for a space stands for one.
            if golden.types.contains(&6) {
                assert_eq!(tokenizer.decode(&found), text.replace('▁', " "), "{}", golden.name);
            }
        }
        println!("vocab {} {right}/{}", golden.name, golden.cases.len());
        assert_eq!(right, golden.cases.len(), "{}", golden.name);
    }
}

#[test]
fn a_unigram_document_ends_with_its_end_token() {
    let golden = Golden::all().into_iter().find(|golden| golden.name == "t5").unwrap();
    let tokenizer = Tokenizer::from_gguf("t5", &golden.metadata()).unwrap();
    let body = tokenizer.encode_text("The tokens").unwrap();
    assert_eq!(tokenizer.encode_document("The tokens").unwrap(), [&body[..], &[2]].concat());
    assert_eq!(tokenizer.decode(&tokenizer.encode_document(" The  tokens ").unwrap()), "The tokens");
}

#[test]
fn wrong_unigram_vocabularies_are_refused() {
    let golden = || Golden::all().into_iter().find(|golden| golden.name == "t5").unwrap();
    let refused = |golden: Golden| {
        let read = Tokenizer::from_gguf("bad.gguf", &golden.metadata());
        read.err().unwrap_or_else(|| panic!("accepted")).to_string()
    };
    let long = refused(Golden { scores: vec![0.0; 3], ..golden() });
    assert!(long.contains("scores must hold 700 finite numbers"), "{long}");
    let unknown = refused(Golden { unknown: 700, ..golden() });
    assert!(unknown.contains("unk_id must be one of the 700 pieces"), "{unknown}");
    let map = refused(Golden { charsmap: vec![1, 2, 3], ..golden() });
    assert!(map.contains("precompiled_charsmap is cut"), "{map}");
}

/// Every byte as a token, no merges: what is left to see is how text is cut into words.
fn byte_vocabulary(pre: &str) -> Metadata {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shown = (0..=255).filter(printable);
    let hidden = (0x100..).take(256 - shown.clone().count());
    let tokens = shown.chain(hidden).filter_map(char::from_u32).map(String::from).collect();
    metadata([
        ("model", Value::String("gpt2".into())),
        ("pre", Value::String(pre.into())),
        ("tokens", Value::Strings(tokens)),
        ("merges", Value::Strings(Vec::new())),
    ])
}

fn words(pre: &str, text: &str) -> Vec<String> {
    let tokenizer = Tokenizer::from_gguf(pre, &byte_vocabulary(pre)).unwrap();
    let mut words: Vec<(Option<u32>, Vec<u8>)> = Vec::new();
    for span in tokenizer.encode_spans(text).unwrap() {
        let piece = tokenizer.piece(span.id);
        match words.last_mut() {
            Some((word, bytes)) if *word == span.word => bytes.extend_from_slice(piece),
            _ => words.push((span.word, piece.to_vec())),
        }
    }
    words.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect()
}

#[test]
fn rules_cut_words_as_their_families_do() {
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["gpt-2", "roberta-bpe", "exaone4", "modern-bert"],
            "I'm 12345  DON'T\n\n x",
            "I|'m| 12345| | DON|'|T|\n\n| x",
        ),
        (&["starcoder", "smollm", "exaone", "codeshell"], "a12 b3", "a|1|2| b|3"),
        (&["llama-bpe", "glm4", "falcon-h1"], "I'M 12345  DON'T!\n\n x", "I|'M| |123|45| | DON|'T|!\n\n| x"),
        (&["minicpm5"], "a1234", "a|123|4"),
        (&["qwen2", "stablelm2", "hunyuan", "grok-2"], "I'M 123 (a)\n", "I|'M| |1|2|3| (|a|)\n"),
        (&["qwen2"], "e\u{301}", "é"),
        (&["qwen35"], "नमस्ते 42", "नमस्ते| |4|2"),
        (&["qwen2"], "नमस्ते", "नमस|्त|े"),
        (
            &["gpt-4o", "llama4", "minimax-m2"],
            "HelloWorld camelCase's A/B 12345",
            "Hello|World| camel|Case's| A|/B| |123|45",
        ),
        (&["tekken"], "HelloWorld it's 123", "Hello|World| it|'s| |1|2|3"),
        (&["kimi-k2"], "你好World世界 12345", "你好|World|世界| |123|45"),
        (&["tiny_aya"], "1234567 x", "1|234|567| x"),
        (&["superbpe"], "by the way 1234567 go", "by the way |1|234|567| go"),
        (&["bailingmoe"], "It'S\n\nA 12", "It|'S|\n\n|A| |1|2"),
        (&["seed-coder"], "a;\n\nb", "a|;|\n\n|b"),
        (&["exaone-moe"], "the big dog, 12", "the big dog|,| |1|2"),
        (&["jais-2"], "a       b", "a|    |  | b"),
        (&["bloom", "poro-chat", "gpt3-finnish"], "Hei, maailma 2024! (ok)", "Hei|,| maailma| 2024|! (|ok|)"),
        (&["viking"], "a 24", "a| |2|4"),
        (&["falcon"], "x=12345 'y'", "x|=|123|45| |'|y|'"),
        (&["deepseek-v3", "hunyuan-dense"], "a.bc 12345 漢字かな+x", "a|.bc| |123|45| |漢字かな|+x"),
        (&["deepseek-coder"], "a 12\n漢字", "a| |1|2|\n|漢字"),
        (&["chameleon"], "IMGIMGABZ a1  b.", "IMGIMGABZ| a|1|  |b|."),
        (&["default"], "a+b 12345", "a|+|b| |123|45"),
    ];
    for (names, text, wanted) in cases {
        for name in *names {
            assert_eq!(words(name, text).join("|"), *wanted, "{name}");
        }
    }
}

#[test]
fn an_unknown_rule_is_named_with_all_that_are_supported() {
    let error = Tokenizer::from_gguf("odd.gguf", &byte_vocabulary("afmoe")).err().unwrap().to_string();
    let list = error.split_once("the pre-tokenizer afmoe (supported are ").unwrap().1;
    let names: Vec<&str> = list.trim_end_matches(|c| c != ')').trim_end_matches(')').split(", ").collect();
    assert!(error.contains("odd.gguf") && names.len() > 60, "{error}");
    let text = "It's 1234567 ways — das Übliche, 漢字かな 한국어 हिन्दी\r\n\t  e\u{301} <|x|> 🫠 ?!…";
    for name in names {
        let joined = words(name, text).concat();
        let composed = text.replace("e\u{301}", "é");
        assert!(joined == text || joined == composed, "{name}: {joined}");
    }
    let mut kind = byte_vocabulary("gpt-2");
    kind.0.insert("tokenizer.ggml.model".into(), Value::String("rwkv".into()));
    let error = Tokenizer::from_gguf("odd.gguf", &kind).err().unwrap().to_string();
    assert!(error.contains("odd.gguf") && error.contains("kind rwkv (supported are bert, gpt2, llama, t5)"), "{error}");
}
