//! A model's description as the metadata of a GGUF file, and the order in which such files keep the rows of q and k.

use crate::error::{Error, Result};
use crate::format::view::View;
use crate::format::{Checkpoint, Config, DType, Metadata, TensorInfo, Value, gguf};
use crate::kernels::attention::NO_WINDOW;
use crate::kernels::elementwise::Pooling;
use crate::kernels::matmul::Activation;
use crate::model::config::{self, DecoderConfig, EncoderConfig, HeadOf, Kind, Rotation, Shape};
use crate::model::rope::Scaling;
use crate::text::{ChatTemplate, Tokenizer, gguf_keys};

/// An architecture whose folders are written as GGUF.
struct Architecture {
    /// Its name in both.
    name: &'static str,
    /// GGUF's name of the norms' epsilon.
    norm_eps: &'static str,
}

const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "llama", norm_eps: "attention.layer_norm_rms_epsilon" },
    Architecture { name: "qwen2", norm_eps: "attention.layer_norm_rms_epsilon" },
    Architecture { name: "bert", norm_eps: "attention.layer_norm_epsilon" },
];

/// How a model is described in GGUF.
pub(super) struct Export {
    /// Every key.
    pub(super) metadata: Metadata,
    /// Rows of a head, where the rows of q and k are to be interleaved.
    head_dim: Option<u64>,
    /// What the frequencies of a head's rotations are divided by, where no key says it.
    rope_factors: Option<Vec<f32>>,
}

impl Export {
    /// What stands in a GGUF file; a folder's `config.json` and tokenizer are translated.
    ///
    /// # Errors
    /// `Unsupported` for a folder whose architecture or tokenizer has no GGUF keys that Trice writes.
    pub(super) async fn new(checkpoint: &Checkpoint) -> Result<Self> {
        if let Config::Gguf(metadata) = checkpoint.config() {
            return Ok(Self { metadata: metadata.clone(), head_dim: None, rope_factors: None });
        }
        let kind = config::kind(checkpoint)?;
        let (shape, keys, rope_factors) = match kind {
            Kind::Decoder => {
                let config = DecoderConfig::new(checkpoint)?;
                refuse_scaling(checkpoint, &config.rotations[0].scaling)?;
                let (keys, factors) = (decoder_keys(&config), rope_factors(&config));
                (config.shape, keys, factors)
            }
            Kind::Encoder => {
                let config = EncoderConfig::new(checkpoint).await?;
                refuse_encoder(checkpoint, &config)?;
                let (shape, keys) = encoder_keys(config);
                (shape, keys, None)
            }
        };
        let Some(architecture) = ARCHITECTURES.iter().find(|known| known.name == shape.architecture) else {
            let (name, known) = (&shape.architecture, ARCHITECTURES.iter().map(|known| known.name));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(Error::unsupported(format!("writing {name} folders as GGUF ({known} are written)")));
        };
        let mut metadata = Metadata::default();
        let name = architecture.name;
        metadata.0.extend(keys.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
        metadata.0.insert(format!("{name}.{}", architecture.norm_eps), Value::F64(shape.norm_eps.into()));
        metadata.0.insert("general.architecture".to_owned(), Value::String(name.to_owned()));
        metadata.0.insert("general.name".to_owned(), Value::String(file_name(checkpoint.name()).to_owned()));
        add_text_keys(checkpoint, &mut metadata).await?;
        let head_dim = gguf::permutes_heads(name).then_some(u64::from(shape.head_dim));
        Ok(Self { metadata, head_dim, rope_factors })
    }

    /// A tensor that the folder does not have, and its values.
    pub(super) fn added(&self) -> Option<(TensorInfo, &[f32])> {
        let factors = self.rope_factors.as_deref()?;
        let (name, n) = ("rope_freqs.weight".to_owned(), factors.len() as u64);
        Some((
            TensorInfo {
                name,
                dtype: DType::F32,
                shape: vec![n],
                file: 0,
                offset: 0,
                n_bytes: 4 * n,
                view: View::AsFiled,
            },
            factors,
        ))
    }

    /// Rows of `tensor` that must be written together: in GGUF they change places among themselves.
    pub(super) fn head_rows(&self, tensor: &TensorInfo) -> Option<u64> {
        let is_rotated = tensor.name.contains(".attn_q.") || tensor.name.contains(".attn_k.");
        self.head_dim.filter(|_| is_rotated)
    }
}

/// Puts the rows of heads as GGUF's interleaved rotation wants them: the first half's and the second half's by turns.
pub(super) fn interleave_heads(rows: &[u8], row_bytes: usize, head_rows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len());
    for head in rows.chunks(row_bytes * head_rows) {
        let (first, second) = head.split_at(head.len() / 2);
        for (a, b) in first.chunks(row_bytes).zip(second.chunks(row_bytes)) {
            out.extend(a);
            out.extend(b);
        }
    }
    out
}

fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

type Keys = Vec<(&'static str, Value)>;

fn shape_keys(shape: &Shape) -> Keys {
    [
        ("block_count", shape.n_layers),
        ("context_length", shape.context_len),
        ("embedding_length", shape.dim),
        ("feed_forward_length", shape.ffn_dim),
        ("attention.head_count", shape.n_heads),
        ("attention.head_count_kv", shape.n_kv_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("vocab_size", shape.vocab_size),
    ]
    .map(|(key, value)| (key, Value::U64(value.into())))
    .to_vec()
}

fn decoder_keys(config: &DecoderConfig) -> Keys {
    let mut keys = shape_keys(&config.shape);
    let Rotation { theta, scaling: stretched } = &config.rotations[0];
    keys.push(("rope.dimension_count", Value::U64(config.shape.head_dim.into())));
    keys.push(("rope.freq_base", Value::F64(*theta)));
    if let Some(layer) = config.layers.iter().find(|layer| layer.window != NO_WINDOW) {
        keys.push(("attention.sliding_window", Value::U64(layer.window.into())));
        let has_window = config.layers.iter().map(|layer| layer.window != NO_WINDOW).collect();
        keys.push(("attention.sliding_window_pattern", Value::Bools(has_window)));
    }
    let mut scaling = |kind: &str, factor: f64| {
        keys.push(("rope.scaling.type", Value::String(kind.to_owned())));
        keys.push(("rope.scaling.factor", Value::F64(factor)));
    };
    match stretched {
        Scaling::Linear { factor } => scaling("linear", *factor),
        Scaling::Yarn(yarn) => {
            scaling("yarn", yarn.factor);
            keys.push(("rope.scaling.original_context_length", Value::U64(yarn.original_len as u64)));
            keys.push(("rope.scaling.yarn_attn_factor", Value::F64(yarn.magnitude)));
            keys.push(("rope.scaling.yarn_beta_fast", Value::F64(yarn.beta_fast)));
            keys.push(("rope.scaling.yarn_beta_slow", Value::F64(yarn.beta_slow)));
        }
        // Llama 3's are the tensor `rope_freqs`.
        _ => {}
    }
    keys
}

/// Ways to stretch rotations that no key says.
fn refuse_scaling(checkpoint: &Checkpoint, scaling: &Scaling) -> Result<()> {
    let what = match scaling {
        Scaling::Dynamic { .. } => "dynamic",
        Scaling::Long { .. } => "longrope",
        _ => return Ok(()),
    };
    Err(Error::unsupported(format!("writing the {what} rope scaling of {} as GGUF", checkpoint.name())))
}

/// What GGUF's `bert` does not say: MPNet's distances, heads other than BERT's own, rows of positions before the first.
fn refuse_encoder(checkpoint: &Checkpoint, config: &EncoderConfig) -> Result<()> {
    let has_head = checkpoint.tensor("cls.output.weight").is_some();
    let is_plain =
        !has_head || config.head.of == HeadOf::Text(Pooling::Cls) && config.head.activation == Activation::Tanh;
    let what = if checkpoint.tensor("attn_rel_b.weight").is_some() {
        "relative positions"
    } else if config.first_position > 0 {
        "positions that begin behind the padding's"
    } else if !is_plain {
        "head"
    } else {
        return Ok(());
    };
    Err(Error::unsupported(format!("writing {} as GGUF: no key says its {what}", checkpoint.name())))
}

fn rope_factors(config: &DecoderConfig) -> Option<Vec<f32>> {
    let Rotation { theta, scaling } = &config.rotations[0];
    let is_llama3 = matches!(scaling, Scaling::Llama3 { .. });
    is_llama3.then(|| scaling.factors(*theta, config.shape.head_dim))
}

fn encoder_keys(config: EncoderConfig) -> (Shape, Keys) {
    let mut keys = shape_keys(&config.shape);
    // llama.cpp's numbers.
    let pooling = match config.pooling {
        Pooling::Mean => 1,
        Pooling::Cls => 2,
        Pooling::Last => 3,
    };
    keys.push(("attention.causal", Value::Bool(false)));
    keys.push(("pooling_type", Value::U64(pooling)));
    if !config.labels.is_empty() {
        keys.push(("classifier.output_labels", Value::Strings(config.labels)));
    }
    (config.shape, keys)
}

/// A text that most ways to split words take apart differently.
const PROBE: &str =
    "Once upon a time, there were 1234 naïve cats; they'd DANCE...\n\n  Wasn't it 3.5% \u{1F600} 猫?\t<end>";

/// The tokenizer and the chat template. What they cannot say shows in a text that the new tokenizer splits otherwise.
async fn add_text_keys(checkpoint: &Checkpoint, metadata: &mut Metadata) -> Result<()> {
    let tokenizer = Tokenizer::from_checkpoint(checkpoint).await?;
    metadata.0.extend(gguf_keys(checkpoint, &tokenizer).await?);
    let (template, tool_use) = ChatTemplate::sources(checkpoint).await?;
    for (key, source) in [("tokenizer.chat_template", template), ("tokenizer.chat_template.tool_use", tool_use)] {
        metadata.0.extend(source.map(|source| (key.to_owned(), Value::String(source.text))));
    }
    let written = Tokenizer::from_gguf(checkpoint.name(), metadata)?;
    if written.encode_document(PROBE)? != tokenizer.encode_document(PROBE)?
        || written.end_tokens() != tokenizer.end_tokens()
        || written.vocab_size() != tokenizer.vocab_size()
    {
        let what = format!("writing the tokenizer of {} to GGUF: it would split texts otherwise", checkpoint.name());
        return Err(Error::unsupported(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::interleave_heads;

    #[test]
    fn halves_of_heads_alternate() {
        let rows: Vec<u8> = (0..8).flat_map(|row| [row, row]).collect();
        let found: Vec<u8> = interleave_heads(&rows, 2, 4).chunks(2).map(|row| row[0]).collect();
        assert_eq!(found, [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
