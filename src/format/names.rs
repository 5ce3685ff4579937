//! Hugging Face's tensor names to GGUF's, once and for all: above the readers only GGUF names exist.

use super::view::View;
use super::{Metadata, TensorInfo};
use serde_json::Value as Json;

/// Parts of a name that stand outside the layers: decoders, GPT-2, GPT-NeoX, then BERT, heads of RoBERTa and DistilBERT, heads
/// of hidden tokens, MPNet, nomic-bert, ModernBERT.
const OUTER: &[(&str, &str)] = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("model.final_layernorm", "output_norm"),
    ("lm_head", "output"),
    ("wte", "token_embd"),
    ("wpe", "position_embd"),
    ("ln_f", "output_norm"),
    ("gpt_neox.embed_in", "token_embd"),
    ("gpt_neox.final_layer_norm", "output_norm"),
    ("embed_out", "output"),
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
    ("pooler.dense", "cls"),
    ("classifier", "cls.output"),
    ("classifier.dense", "cls"),
    ("classifier.out_proj", "cls.output"),
    ("pre_classifier", "cls"),
    ("qa_outputs", "cls.output"),
    ("cls.predictions.transform.dense", "mlm"),
    ("cls.predictions.transform.LayerNorm", "mlm.norm"),
    ("cls.predictions", "mlm.output"),
    ("lm_head.dense", "mlm"),
    ("lm_head.layer_norm", "mlm.norm"),
    ("vocab_transform", "mlm"),
    ("vocab_layer_norm", "mlm.norm"),
    ("vocab_projector", "mlm.output"),
    ("encoder.relative_attention_bias", "attn_rel_b"),
    ("emb_ln", "token_embd_norm"),
    ("embeddings.tok_embeddings", "token_embd"),
    ("embeddings.norm", "token_embd_norm"),
    ("final_norm", "output_norm"),
    ("head.dense", "cls"),
    ("head.norm", "cls.norm"),
    ("decoder", "mlm.output"),
];

/// What precedes a layer's number.
const LAYERS: &[&str] = &[
    "model.layers.",
    "h.",
    "gpt_neox.layers.",
    "encoder.layer.",
    "encoder.layers.",
    "transformer.layer.",
    "layer.",
    "layers.",
];

/// Parts of a name within a layer: decoders, Phi-2, Starcoder 2, GPT-2, GPT-NeoX, then BERT, DistilBERT, MPNet, nomic-bert,
/// ModernBERT.
const INNER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("self_attn.dense", "attn_output"),
    ("mlp.fc1", "ffn_up"),
    ("mlp.fc2", "ffn_down"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("attention.query_key_value", "attn_qkv"),
    ("attention.dense", "attn_output"),
    ("mlp.dense_h_to_4h", "ffn_up"),
    ("mlp.dense_4h_to_h", "ffn_down"),
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
    ("attention.q_lin", "attn_q"),
    ("attention.k_lin", "attn_k"),
    ("attention.v_lin", "attn_v"),
    ("attention.out_lin", "attn_output"),
    ("sa_layer_norm", "attn_output_norm"),
    ("ffn.lin1", "ffn_up"),
    ("ffn.lin2", "ffn_down"),
    ("output_layer_norm", "layer_output_norm"),
    ("attention.attn.q", "attn_q"),
    ("attention.attn.k", "attn_k"),
    ("attention.attn.v", "attn_v"),
    ("attention.attn.o", "attn_output"),
    ("attention.LayerNorm", "attn_output_norm"),
    ("attn.Wqkv", "attn_qkv"),
    ("attn.out_proj", "attn_output"),
    ("norm1", "attn_output_norm"),
    ("norm2", "layer_output_norm"),
    ("mlp.fc11", "ffn_up"),
    ("mlp.fc12", "ffn_gate"),
    ("attn.Wo", "attn_output"),
    ("attn_norm", "attn_norm"),
    ("mlp_norm", "ffn_norm"),
    ("mlp.Wi", "ffn_up"),
    ("mlp.Wo", "ffn_down"),
];

/// The same where norms stand after the layer's halves as well (Gemma 2 and 3), or only there (OLMo 2): found first.
const INNER_POST_NORMED: &[(&str, &str)] = &[
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// What BERT's kin call the head of hidden tokens: its bias, since the weights are the embedding.
const MASKED: &[(&str, &str)] = &[("lm_head", "mlm.output")];

const MASKED_TYPES: &[&str] = &["roberta", "xlm-roberta", "camembert", "mpnet"];

const POST_NORMED: &[&str] = &["gemma2", "gemma3", "gemma3_text", "olmo2"];

/// Parts of a name within a layer that go on with a head's number: StableLM's norms of q and k.
const PER_HEAD: &[(&str, &str)] =
    &[("self_attn.q_layernorm.norms.", "attn_q_norm"), ("self_attn.k_layernorm.norms.", "attn_k_norm")];

/// Tables that old checkpoints carry and every engine computes itself.
const BUFFERS: &[&str] = &[
    "position_ids",
    "rotary_emb.inv_freq",
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
];

/// What wraps a model inside a task's, or beside one that sees.
const WRAPPERS: &[&str] = &["bert.", "distilbert.", "roberta.", "mpnet.", "transformer.", "language_model."];

/// What a folder's `config.json` says of its tensors.
#[derive(Clone, Debug, Default)]
pub struct Family {
    model_type: String,
    head_dim: u64,
}

impl Family {
    /// The family of a folder with this `config.json`.
    pub fn of(config: &Json) -> Self {
        let config = config.get("text_config").unwrap_or(config);
        let number = |key: &str| config.get(key).and_then(Json::as_u64).unwrap_or(0);
        Self {
            model_type: config.get("model_type").and_then(Json::as_str).unwrap_or("").to_owned(),
            head_dim: number("hidden_size").checked_div(number("num_attention_heads")).unwrap_or(0),
        }
    }

    /// The family of a GGUF file's model, whose adapters come from a folder.
    pub(crate) fn of_gguf(metadata: &Metadata) -> Self {
        let name = metadata.string("general.architecture").unwrap_or("");
        let number = |key: &str| metadata.uint(&format!("{name}.{key}")).unwrap_or(0);
        let model_type = if name == "gptneox" { "gpt_neox" } else { name };
        let per_head = number("embedding_length").checked_div(number("attention.head_count")).unwrap_or(0);
        let head_dim = metadata.uint(&format!("{name}.attention.key_length")).unwrap_or(per_head);
        Self { model_type: model_type.to_owned(), head_dim }
    }

    /// Rows of a head.
    pub(crate) fn head_dim(&self) -> u64 {
        self.head_dim
    }

    /// The matrices, by name, that A or B of `name` is about: q, k and v where that is what it means.
    pub(crate) fn low_rank_parts(&self, name: &str, is_a: bool, tensor: TensorInfo) -> Vec<(String, TensorInfo)> {
        if self.model_type != "gpt_neox" || !name.contains("attn_qkv") {
            return vec![(name.to_owned(), tensor)];
        }
        if is_a {
            return ["attn_q", "attn_k", "attn_v"].map(|part| (name.replace("attn_qkv", part), tensor.clone())).into();
        }
        let parts = self.split_heads(TensorInfo { name: name.to_owned(), ..tensor });
        parts.into_iter().map(|part| (part.name.clone(), part)).collect()
    }

    /// GGUF's name of a tensor, its own without what wraps the model where it has no translation, none for a buffer that is no weight.
    pub(crate) fn gguf_name(&self, name: &str) -> Option<String> {
        if BUFFERS.iter().any(|buffer| name.ends_with(buffer)) {
            return None;
        }
        let is_modern = self.model_type == "modernbert";
        let wrappers = if is_modern { &["model."] } else { WRAPPERS };
        let bare = wrappers.iter().find_map(|wrapper| name.strip_prefix(wrapper)).unwrap_or(name);
        let inside = bare.strip_prefix("model.language_model.").map(|rest| format!("model.{rest}"));
        let bare = inside.as_deref().unwrap_or(bare);
        Some(self.translate(bare).unwrap_or_else(|| bare.to_owned()))
    }

    fn translate(&self, name: &str) -> Option<String> {
        let (stem, kind) = name.rsplit_once('.')?;
        // LayerNorm's parameters in checkpoints converted from TensorFlow.
        let kind = match kind {
            "gamma" => "weight",
            "beta" => "bias",
            other => other,
        };
        let first = if MASKED_TYPES.contains(&self.model_type.as_str()) { MASKED } else { &[] };
        if let Some(ours) = look_up(first, stem).or_else(|| look_up(OUTER, stem)) {
            return Some(format!("{ours}.{kind}"));
        }
        let in_layers = LAYERS.iter().find_map(|prefix| stem.strip_prefix(prefix))?;
        let (layer, stem) = in_layers.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        if let Some((head, ours)) = PER_HEAD.iter().find_map(|(theirs, ours)| Some((stem.strip_prefix(theirs)?, ours)))
        {
            let head: u32 = head.parse().ok()?;
            return Some(format!("blk.{layer}.{ours}.{head}.{kind}"));
        }
        let post_normed = POST_NORMED.contains(&self.model_type.as_str());
        let first = if post_normed { INNER_POST_NORMED } else { &[] };
        look_up(first, stem).or_else(|| look_up(INNER, stem)).map(|ours| format!("blk.{layer}.{ours}.{kind}"))
    }

    /// The tensors that a stored one means, as GGUF has them: itself, itself transposed, or q, k and v apart.
    pub(crate) fn meant(&self, stored: TensorInfo) -> Vec<TensorInfo> {
        let is_layer_matrix = stored.name.starts_with("blk.") && stored.shape.len() == 2;
        match self.model_type.as_str() {
            "gpt2" if is_layer_matrix => {
                let shape = stored.shape.iter().rev().copied().collect();
                vec![TensorInfo { shape, view: View::Transposed, ..stored }]
            }
            "gpt_neox" if stored.name.contains("attn_qkv") => self.split_heads(stored),
            _ => vec![stored],
        }
    }

    /// q, k and v of rows that are each head's q, k and v in turn; a bias is a column. The stored tensor where it is none such.
    fn split_heads(&self, stored: TensorInfo) -> Vec<TensorInfo> {
        let (rows, cols) = match stored.shape[..] {
            [rows] => (rows, 1),
            [rows, cols] => (rows, cols),
            _ => return vec![stored],
        };
        let len = self.head_dim;
        if len == 0 || !len.checked_mul(3).is_some_and(|three| rows.is_multiple_of(three)) {
            return vec![stored];
        }
        let part = |(at, name): (u64, &str)| TensorInfo {
            name: stored.name.replace("attn_qkv", name),
            shape: vec![rows / 3, cols],
            n_bytes: stored.n_bytes / 3,
            view: View::Blocks { len, of: 3, at },
            ..stored.clone()
        };
        [(0, "attn_q"), (1, "attn_k"), (2, "attn_v")].map(part).into()
    }
}

/// What GGUF calls the tensor that `tensor` is a part of, and which part: q, k and v of rows that hold all three.
pub(crate) fn joined(tensor: &TensorInfo) -> Option<(String, u64)> {
    let View::Blocks { at, .. } = tensor.view else { return None };
    let part = ["attn_q", "attn_k", "attn_v"][..].get(at as usize)?;
    Some((tensor.name.replace(part, "attn_qkv"), at))
}

/// Whether a folder's tensor, by the name that it has there, is part of a layer.
pub(crate) fn is_in_layer(name: &str) -> bool {
    let bare = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)).unwrap_or(name);
    LAYERS.iter().any(|prefix| bare.starts_with(prefix))
}

fn look_up(table: &[(&str, &'static str)], stem: &str) -> Option<&'static str> {
    table.iter().find(|(theirs, _)| *theirs == stem).map(|&(_, ours)| ours)
}

#[cfg(test)]
mod tests {
    use super::Family;

    fn gguf_name(name: &str) -> Option<String> {
        Family::default().gguf_name(name)
    }

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
    fn translates_later_decoders() {
        for (theirs, ours) in [
            ("transformer.h.3.attn.c_attn.weight", "blk.3.attn_qkv.weight"),
            ("h.3.mlp.c_proj.bias", "blk.3.ffn_down.bias"),
            ("wpe.weight", "position_embd.weight"),
            ("gpt_neox.layers.0.attention.dense.bias", "blk.0.attn_output.bias"),
            ("embed_out.weight", "output.weight"),
            ("model.layers.1.self_attn.k_layernorm.norms.2.weight", "blk.1.attn_k_norm.2.weight"),
            ("model.language_model.layers.1.self_attn.q_norm.weight", "blk.1.attn_q_norm.weight"),
            ("language_model.model.embed_tokens.weight", "token_embd.weight"),
        ] {
            assert_eq!(gguf_name(theirs).as_deref(), Some(ours));
        }
        assert_eq!(gguf_name("h.0.attn.bias"), None);
        let gemma = Family::of(&serde_json::json!({"model_type": "gemma2"}));
        let name = gemma.gguf_name("model.layers.0.post_attention_layernorm.weight");
        assert_eq!(name.as_deref(), Some("blk.0.post_attention_norm.weight"));
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
        assert_eq!(gguf_name("bert.seq_relationship.weight").as_deref(), Some("seq_relationship.weight"));
        assert_eq!(
            gguf_name("model.layers.x.mlp.up_proj.weight").as_deref(),
            Some("model.layers.x.mlp.up_proj.weight")
        );
        assert_eq!(gguf_name("embeddings.position_ids"), None);
        assert_eq!(gguf_name("model.layers.0.self_attn.rotary_emb.inv_freq"), None);
    }
}
