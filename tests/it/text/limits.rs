//! What a tokenizer's and a template's files may hold: the largest that is allowed, and one more.

use serde_json::{Value, json};
use trice::text::{ChatTemplate, SideFiles, Tokenizer};
use trice::{Error, Result};

fn read(file: &Value) -> Result<Tokenizer> {
    Tokenizer::from_json("edge.json", &serde_json::to_vec(file).unwrap(), &SideFiles::default())
}

fn bpe() -> Value {
    json!({"added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})
}

fn with(pointer: &str, key: &str, value: Value) -> Value {
    let mut file = bpe();
    file.pointer_mut(pointer).unwrap()[key] = value;
    file
}

#[test]
fn tokenizers_are_read_up_to_their_limits() {
    let nested = |depth: usize| {
        let mut value = json!({"type": "Lowercase"});
        for _ in 0..depth {
            value = json!({"type": "Sequence", "normalizers": [value]});
        }
        with("", "normalizer", value)
    };
    let replace = |len: usize| {
        let value = json!({"type": "Replace", "pattern": {"String": "abcd"}, "content": "x".repeat(len)});
        with("", "normalizer", value)
    };
    let word_piece = |max: u64| {
        let model = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": max, "vocab": {"[UNK]": 0}});
        with("", "model", model)
    };
    let pattern = |len: usize| {
        let value =
            json!({"type": "Split", "pattern": {"Regex": "a".repeat(len)}, "behavior": "Isolated", "invert": false});
        with("", "pre_tokenizer", value)
    };
    let edges = [
        ("nested deeper than 64", nested(31), nested(32)),
        (
            "0..1048576",
            with("/model", "vocab", json!({"a": (1 << 20) - 1})),
            with("/model", "vocab", json!({"a": 1 << 20})),
        ),
        (
            "at most 4096",
            with("/model/vocab", &"b".repeat(4096), json!(1)),
            with("/model/vocab", &"b".repeat(4097), json!(1)),
        ),
        ("a Replace of 17 bytes", replace(16), replace(17)),
        ("1..=1000", word_piece(1000), word_piece(1001)),
        ("1 to 4096 bytes, not 4097", pattern(4096), pattern(4097)),
    ];
    for (wanted, fits, too_much) in edges {
        read(&fits).unwrap_or_else(|error| panic!("{wanted}: {error}")).encode_text("aab b").unwrap();
        let error = read(&too_much).err().unwrap_or_else(|| panic!("{wanted}: one more was accepted")).to_string();
        assert!(error.contains("edge.json") && error.contains(wanted), "{wanted}: {error}");
    }
    let spaces = |n: usize| Tokenizer::from_json("edge.json", &vec![b' '; n], &SideFiles::default()).err().unwrap();
    assert!(matches!(spaces(64 << 20), Error::Format { .. }));
    assert!(matches!(spaces((64 << 20) + 1), Error::Limit { needed, available, .. } if needed == available + 1));
}

#[test]
fn templates_are_compiled_up_to_their_limits() {
    let chain = |n: usize| format!("{{{{ {}1 }}}}", "-".repeat(n));
    let branches = |n: usize| format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(n));
    let edges = [
        ("200 operators", chain(200), chain(201)),
        ("200 operators or branches", branches(200), branches(201)),
        ("bytes of a chat template", " ".repeat(64 << 10), " ".repeat((64 << 10) + 1)),
    ];
    for (wanted, fits, too_much) in edges {
        ChatTemplate::new(&fits, "edge").unwrap_or_else(|error| panic!("{wanted}: {error}"));
        let error = ChatTemplate::new(&too_much, "edge").unwrap_err().to_string();
        assert!(error.contains("edge") && error.contains(wanted), "{wanted}: {error}");
    }
    // Neither a variable of that name nor a mark inside brackets ends the counting.
    for start in ["{{ raw }}{{ ", "{{ {'a': {}} + ", "{{ [{'a': {'b': 1}}] + "] {
        let error = ChatTemplate::new(&format!("{start}{}1 }}}}", "-".repeat(300)), "edge").unwrap_err().to_string();
        assert!(error.contains("200 operators"), "{start}: {error}");
    }
    // What stands in comments and raw texts is no expression.
    for quiet in ["{# {{ ----", "{% raw %}{{ ----"] {
        let end = if quiet.starts_with("{#") { "#}" } else { "{% endraw %}" };
        ChatTemplate::new(&format!("{quiet}{}{end}", "-".repeat(300)), "edge").unwrap();
    }
}

#[test]
fn a_word_of_a_megabyte_takes_linear_time() {
    let vocab = json!({"a": 0, "b": 1, "ab": 2, "abab": 3});
    let merges = json!([["a", "b"], ["ab", "ab"]]);
    let mut file = with("/model", "vocab", vocab);
    file["model"]["merges"] = merges;
    let ids = read(&file).unwrap().encode_text(&"ab".repeat(1 << 19)).unwrap();
    assert_eq!(ids, vec![3; 1 << 18]);
    // The names of special tokens, which the model itself would read, are cut out of one word.
    let pieces =
        json!([["<unk>", 0.0], ["</s>", 0.0], ["<", -1.0], ["/s>", -1.0], ["s", -2.0], ["/", -2.0], [">", -2.0]]);
    let mut file = with("", "model", json!({"type": "Unigram", "unk_id": 0, "vocab": pieces}));
    file["added_tokens"] = json!([{"id": 1, "content": "</s>", "special": true}]);
    let tokenizer = read(&file).unwrap();
    assert_eq!(tokenizer.encode_text(&"</s>".repeat(50_000)).unwrap(), [2, 3].repeat(50_000));
    assert_eq!(tokenizer.encode_prompt("</s>?").unwrap(), [1, 0]);
}
