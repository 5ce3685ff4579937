//! llama2.c's `.bin` checkpoint (version 0) and tokenizer to GGUF. Its rotary weights already lie in the interleaved
//! order that GGUF's llama wants.

use super::gguf_writer::GgufWriter;

const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// Reads little-endian numbers front to back.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk::<N>().expect("the file is too short");
        self.0 = rest;
        *head
    }

    fn int(&mut self) -> i32 {
        i32::from_le_bytes(self.take())
    }

    fn floats(&mut self, n: u64) -> Vec<f32> {
        (0..n).map(|_| f32::from_le_bytes(self.take())).collect()
    }
}

/// Converts a model and its tokenizer; panics on malformed files, which only a test gives it.
pub fn to_gguf(model: &[u8], tokenizer: &[u8]) -> Vec<u8> {
    let mut model = Cursor(model);
    let [dim, ffn, n_layers, n_heads, n_kv_heads, vocab, context] = std::array::from_fn(|_| model.int());
    let tied = vocab > 0;
    let vocab = vocab.unsigned_abs();
    let writer = GgufWriter::default()
        .string("general.architecture", "llama")
        .uint("llama.block_count", n_layers as u32)
        .uint("llama.context_length", context as u32)
        .uint("llama.embedding_length", dim as u32)
        .uint("llama.feed_forward_length", ffn as u32)
        .uint("llama.attention.head_count", n_heads as u32)
        .uint("llama.attention.head_count_kv", n_kv_heads as u32)
        .uint("llama.rope.dimension_count", (dim / n_heads) as u32)
        .float("llama.rope.freq_base", 10_000.0)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .uint("llama.vocab_size", vocab);
    let writer = add_tokenizer(writer, tokenizer, vocab as usize);

    let (dim, ffn, layers) = (dim as u64, ffn as u64, n_layers as u64);
    let kv_dim = dim / n_heads as u64 * n_kv_heads as u64;
    let mut writer =
        writer.f32_tensor("token_embd.weight", &[u64::from(vocab), dim], &model.floats(u64::from(vocab) * dim));
    // The file groups weights by kind, then by layer: kind, and (rows, cols) with rows 1 for a vector.
    let groups = [
        ("attn_norm", 1, dim),
        ("attn_q", dim, dim),
        ("attn_k", kv_dim, dim),
        ("attn_v", kv_dim, dim),
        ("attn_output", dim, dim),
        ("ffn_norm", 1, dim),
        ("ffn_gate", ffn, dim),
        ("ffn_down", dim, ffn),
        ("ffn_up", ffn, dim),
    ];
    for (kind, rows, cols) in groups {
        for layer in 0..layers {
            let shape = if rows == 1 { vec![cols] } else { vec![rows, cols] };
            let weights = model.floats(rows * cols);
            writer = writer.f32_tensor(&format!("blk.{layer}.{kind}.weight"), &shape, &weights);
        }
    }
    writer = writer.f32_tensor("output_norm.weight", &[dim], &model.floats(dim));
    // Two tables of rotary frequencies that every engine computes itself.
    model.floats(context as u64 * (dim / n_heads as u64));
    if !tied {
        writer = writer.f32_tensor("output.weight", &[u64::from(vocab), dim], &model.floats(u64::from(vocab) * dim));
    }
    assert!(model.0.is_empty(), "{} bytes left over", model.0.len());
    writer.finish()
}

fn add_tokenizer(writer: GgufWriter, bytes: &[u8], vocab: usize) -> GgufWriter {
    let mut cursor = Cursor(bytes);
    cursor.int(); // the longest token
    let (mut tokens, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for id in 0..vocab {
        scores.push(f32::from_le_bytes(cursor.take()));
        let len = cursor.int() as usize;
        let (text, rest) = cursor.0.split_at(len);
        cursor.0 = rest;
        let text = std::str::from_utf8(text).unwrap();
        let (token, kind) = match id {
            0 => ("<unk>".to_owned(), 2),
            1 => ("<s>".to_owned(), CONTROL),
            2 => ("</s>".to_owned(), CONTROL),
            3..259 => (format!("<0x{:02X}>", id - 3), BYTE),
            _ => (text.replace(' ', "\u{2581}"), 1),
        };
        tokens.push(token);
        kinds.push(kind);
    }
    writer
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .floats("tokenizer.ggml.scores", &scores)
        .ints("tokenizer.ggml.token_type", &kinds)
        .uint("tokenizer.ggml.unknown_token_id", 0)
        .uint("tokenizer.ggml.bos_token_id", 1)
        .uint("tokenizer.ggml.eos_token_id", 2)
        .bool("tokenizer.ggml.add_bos_token", true)
}
