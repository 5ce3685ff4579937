//! Hugging Face's tensor names to GGUF's, once and for all: above the readers only GGUF names exist.

/// Parts of a name that stand outside the layers: decoders, then BERT.
const OUTER: &[(&str, &str)] = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
    ("pooler.dense", "cls"),
    ("classifier", "cls.output"),
];

/// What precedes a layer's number.
const LAYERS: &[&str] = &["model.layers.", "encoder.layer."];

/// Parts of a name within a layer: decoders, then BERT.
const INNER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
];

/// Tables that old checkpoints carry and every engine computes itself.
const BUFFERS: &[&str] = &["position_ids", "rotary_emb.inv_freq"];

/// GGUF's name of a tensor, its own name where it has no translation, none for a buffer that is no weight.
pub(crate) fn gguf_name(name: &str) -> Option<String> {
    if BUFFERS.iter().any(|buffer| name.ends_with(buffer)) {
        return None;
    }
    Some(translate(name.strip_prefix("bert.").unwrap_or(name)).unwrap_or_else(|| name.to_owned()))
}

fn translate(name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    // LayerNorm's parameters in checkpoints converted from TensorFlow.
    let kind = match kind {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    if let Some(ours) = look_up(OUTER, stem) {
        return Some(format!("{ours}.{kind}"));
    }
    let in_layers = LAYERS.iter().find_map(|prefix| stem.strip_prefix(prefix))?;
    let (layer, stem) = in_layers.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    look_up(INNER, stem).map(|ours| format!("blk.{layer}.{ours}.{kind}"))
}

fn look_up(table: &[(&str, &'static str)], stem: &str) -> Option<&'static str> {
    table.iter().find(|(theirs, _)| *theirs == stem).map(|&(_, ours)| ours)
}

#[cfg(test)]
mod tests {
    use super::gguf_name;

    #[test]
    fn translates_decoders() {
        for (theirs, ours) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.11.self_attn.q_proj.bias", "blk.11.attn_q.bias"),
            ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"),
            ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
        ] {
            assert_eq!(gguf_name(theirs).as_deref(), Some(ours));
        }
    }

    #[test]
    fn translates_bert_with_and_without_its_prefix() {
        for (theirs, ours) in [
            ("embeddings.word_embeddings.weight", "token_embd.weight"),
            ("embeddings.LayerNorm.gamma", "token_embd_norm.weight"),
            ("encoder.layer.5.attention.self.key.bias", "blk.5.attn_k.bias"),
            ("encoder.layer.5.attention.output.LayerNorm.weight", "blk.5.attn_output_norm.weight"),
            ("encoder.layer.5.output.LayerNorm.bias", "blk.5.layer_output_norm.bias"),
            ("pooler.dense.weight", "cls.weight"),
        ] {
            assert_eq!(gguf_name(theirs).as_deref(), Some(ours));
            assert_eq!(gguf_name(&format!("bert.{theirs}")).as_deref(), Some(ours));
        }
        assert_eq!(gguf_name("classifier.bias").as_deref(), Some("cls.output.bias"));
    }

    #[test]
    fn keeps_unknown_names_and_drops_buffers() {
        assert_eq!(gguf_name("bert.qa_outputs.weight").as_deref(), Some("bert.qa_outputs.weight"));
        assert_eq!(
            gguf_name("model.layers.x.mlp.up_proj.weight").as_deref(),
            Some("model.layers.x.mlp.up_proj.weight")
        );
        assert_eq!(gguf_name("embeddings.position_ids"), None);
        assert_eq!(gguf_name("model.layers.0.self_attn.rotary_emb.inv_freq"), None);
    }
}
