//! Synthetic tokenizers that hold every byte or every ASCII character and are filled up to a real model's size.

use crate::format::Value;

const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const UNUSED: i64 = 5;

type Keys = Vec<(String, Value)>;

/// A vocabulary under construction: tokens and their kinds.
#[derive(Default)]
struct Vocab {
    tokens: Vec<String>,
    kinds: Vec<i64>,
}

impl Vocab {
    fn add(&mut self, token: impl Into<String>, kind: i64) {
        self.tokens.push(token.into());
        self.kinds.push(kind);
    }

    /// Fills up to `vocab_size` and turns the vocabulary into a header's keys.
    fn finish(mut self, model: &str, vocab_size: u64, ids: &[(&str, u64)]) -> Keys {
        for n in self.tokens.len() as u64..vocab_size {
            self.add(format!("<|filler_{n}|>"), UNUSED);
        }
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let mut keys = vec![
            (key("model"), Value::String(model.to_owned())),
            (key("tokens"), Value::Strings(self.tokens)),
            (key("token_type"), Value::Ints(self.kinds)),
        ];
        keys.extend(ids.iter().map(|&(name, id)| (key(&format!("{name}_token_id")), Value::U64(id))));
        keys
    }
}

/// GPT-2's byte-level BPE without a merge: one token per byte, by byte value, and an end token.
pub(super) fn byte_level(vocab_size: u64) -> Keys {
    let mut vocab = Vocab::default();
    for byte in 0..=255 {
        vocab.add(gpt2_char(byte), NORMAL);
    }
    vocab.add("<|endoftext|>", CONTROL);
    let mut keys = vocab.finish("gpt2", vocab_size, &[("bos", 256), ("eos", 256)]);
    keys.push(("tokenizer.ggml.pre".to_owned(), Value::String("gpt-2".to_owned())));
    keys.push(("tokenizer.ggml.merges".to_owned(), Value::Strings(Vec::new())));
    keys
}

/// The character that stands for a byte in GPT-2's vocabulary: itself where it is visible, else one from U+0100 on.
fn gpt2_char(byte: u8) -> char {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if visible(byte) {
        return char::from(byte);
    }
    let n_before = (0..byte).filter(|&other| !visible(other)).count() as u32;
    char::from_u32(0x100 + n_before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// BERT's WordPiece: its special tokens and every visible ASCII character, beginning a word (▁) and within one.
pub(super) fn word_piece(vocab_size: u64) -> Keys {
    let mut vocab = Vocab::default();
    for token in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
        vocab.add(token, if token == "[UNK]" { UNKNOWN } else { CONTROL });
    }
    for char in '!'..='~' {
        vocab.add(format!("\u{2581}{char}"), NORMAL);
        vocab.add(char, NORMAL);
    }
    // The separator's key is misspelt in the format itself.
    let ids = [("padding", 0), ("unknown", 1), ("bos", 2), ("cls", 2), ("eos", 3), ("seperator", 3), ("mask", 4)];
    let mut keys = vocab.finish("bert", vocab_size, &ids);
    keys.push(("tokenizer.ggml.token_type_count".to_owned(), Value::U64(2)));
    keys
}
