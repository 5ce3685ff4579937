//! A folder's model as keys and tensors of a GGUF file. What the keys said is read back as any file's is: where another model
//! would come of it, no key says the difference, and the model is refused.

use super::keys::{Given, Keys, decoder_keys, decoder_rope, encoder_keys, encoder_rope, rotation_tensors};
use super::tensors::{FolderLayout, Layout};
use crate::error::{Error, Result};
use crate::format::{Checkpoint, Metadata, TensorInfo, Value, gguf};
use crate::kernels::attention::Rope;
use crate::kernels::elementwise::Pooling;
use crate::model::config::{self, DecoderConfig, EncoderConfig, HeadOf, Kind, Rotation};
use crate::model::rope::Scaling;

/// The keys and the layout of the folder `checkpoint`.
pub(super) async fn describe(checkpoint: &Checkpoint) -> Result<(Metadata, Layout)> {
    let (metadata, layout) = match config::kind(checkpoint)? {
        Kind::Decoder => describe_decoder(checkpoint)?,
        Kind::Encoder => describe_encoder(checkpoint).await?,
    };
    Ok((metadata, Layout::OfFolder(layout)))
}

fn describe_decoder(checkpoint: &Checkpoint) -> Result<(Metadata, FolderLayout)> {
    let config = DecoderConfig::new(checkpoint)?;
    let shape = &config.shape;
    let metadata = metadata(checkpoint, &shape.architecture, decoder_keys(&config));
    let found = DecoderConfig::new(&checkpoint.described_by(&metadata))?;
    refuse(checkpoint, decoder_difference(&config, &found))?;
    let layout = FolderLayout {
        interleaved: interleaved(&shape.architecture, shape.head_dim),
        norm_offset: config.norm_offset,
        first_position: 0,
        has_head: false,
        given: given(rotation_tensors(decoder_rope(&config), shape, &config.rotations[0])),
    };
    Ok((metadata, layout))
}

async fn describe_encoder(checkpoint: &Checkpoint) -> Result<(Metadata, FolderLayout)> {
    let config = EncoderConfig::new(checkpoint).await?;
    let shape = &config.shape;
    refuse(checkpoint, checkpoint.tensor("attn_rel_b.weight").map(|_| "relative positions"))?;
    let has_head = match config.head.of {
        // Some folders hold such a head's name and not the head.
        HeadOf::Mask => checkpoint.tensor("mlm.output.bias").is_some(),
        HeadOf::Text(_) | HeadOf::Token | HeadOf::Answer => checkpoint.tensor("cls.output.weight").is_some(),
    };
    let pooling = pooling(&config, has_head);
    let mut metadata = metadata(checkpoint, &shape.architecture, encoder_keys(&config, pooling));
    let n_types = checkpoint.tensor("token_types.weight").map(TensorInfo::rows);
    metadata.0.extend(n_types.map(|n| ("tokenizer.ggml.token_type_count".to_owned(), Value::U64(n))));
    let found = EncoderConfig::new(&checkpoint.described_by(&metadata)).await?;
    refuse(checkpoint, encoder_difference(&config, &found, has_head))?;
    let layout = FolderLayout {
        interleaved: interleaved(&shape.architecture, shape.head_dim),
        norm_offset: 0.0,
        first_position: config.first_position.into(),
        has_head,
        given: given(rotation_tensors(encoder_rope(&config), shape, &config.rotations[0])),
    };
    Ok((metadata, layout))
}

/// Of ModernBERT's files the pooling says as well what the head is about.
fn pooling(config: &EncoderConfig, has_head: bool) -> Pooling {
    match config.head.of {
        HeadOf::Text(pooling) if has_head && config.shape.architecture == "modern-bert" => pooling,
        _ => config.pooling,
    }
}

fn metadata(checkpoint: &Checkpoint, architecture: &str, keys: Keys) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.0.extend(keys.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)));
    metadata.0.insert("general.architecture".to_owned(), Value::String(architecture.to_owned()));
    metadata.0.insert("general.name".to_owned(), Value::String(file_name(checkpoint.name()).to_owned()));
    metadata
}

fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Rows of a head, where files hold those of q and k in another order.
fn interleaved(architecture: &str, head_dim: u32) -> Option<u64> {
    gguf::permutes_heads(architecture).then_some(head_dim.into())
}

fn given(tensors: Given) -> Vec<(String, Vec<f32>)> {
    tensors.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
}

fn refuse(checkpoint: &Checkpoint, difference: Option<&str>) -> Result<()> {
    let Some(what) = difference else { return Ok(()) };
    Err(Error::unsupported(format!("writing {} as GGUF: no key says its {what}", checkpoint.name())))
}

/// The first name of something that is not alike.
fn first_unlike(all: &[(&'static str, bool)]) -> Option<&'static str> {
    all.iter().find(|(_, is_alike)| !is_alike).map(|(what, _)| *what)
}

/// What `found`, as a reader of the keys has it, does otherwise than `wanted`, the folder's.
fn decoder_difference(wanted: &DecoderConfig, found: &DecoderConfig) -> Option<&'static str> {
    let turns = decoder_rope(wanted) != Rope::None;
    let permutes = gguf::permutes_heads(&wanted.shape.architecture);
    let ropes = wanted.layers.iter().map(|layer| in_file(layer.rope, permutes));
    let is_near = |of: fn(&DecoderConfig) -> f32| are_near(of(wanted), of(found));
    let is_near_bound = |of: fn(&DecoderConfig) -> Option<f32>| match (of(wanted), of(found)) {
        (Some(a), Some(b)) => are_near(a, b),
        (a, b) => a == b,
    };
    first_unlike(&[
        ("activation", wanted.activation == found.activation),
        (
            "order of attention and feed-forward layer",
            (wanted.is_parallel, wanted.shares_norm) == (found.is_parallel, found.shares_norm),
        ),
        ("choice of layers that rotate", ropes.eq(found.layers.iter().map(|layer| layer.rope))),
        ("windows", windows_of(wanted).eq(windows_of(found))),
        ("rope scaling", !turns || are_alike(&wanted.rotations, &found.rotations)),
        ("scale of attention", is_near(|config| config.attention_scale)),
        ("bound of attention's scores", is_near_bound(|config| config.attention_softcap)),
        ("bound of the logits", is_near_bound(|config| config.logit_softcap)),
        ("scale of the logits", is_near(|config| config.logit_scale)),
        ("scale of the embedding", is_near(|config| config.embedding_scale)),
        ("scale of what layers add", is_near(|config| config.residual_scale)),
    ])
}

/// The window of each layer, and what it rotates by.
fn windows_of(config: &DecoderConfig) -> impl Iterator<Item = (u32, usize)> {
    config.layers.iter().map(|layer| (layer.window, layer.rotation))
}

/// The same of encoders.
fn encoder_difference(wanted: &EncoderConfig, found: &EncoderConfig, has_head: bool) -> Option<&'static str> {
    let turns = encoder_rope(wanted) != Rope::None;
    let head = match wanted.head.of {
        HeadOf::Text(_) => "head",
        HeadOf::Token => "head of tokens",
        HeadOf::Answer => "head of answers",
        HeadOf::Mask => "head of hidden tokens",
    };
    first_unlike(&[
        (head, !has_head || wanted.head == found.head),
        ("activation", wanted.activation == found.activation),
        ("windows", wanted.layers == found.layers),
        ("rope scaling", !turns || are_alike(&wanted.rotations, &found.rotations)),
    ])
}

/// A layer's rotation as files that may permute q and k are read.
fn in_file(rope: Rope, permutes: bool) -> Rope {
    if permutes && rope == Rope::Neox { Rope::Interleaved } else { rope }
}

/// Whether rotations read from keys are those that are wanted, but for factors: those are tensors.
fn are_alike(wanted: &[Rotation], found: &[Rotation]) -> bool {
    let in_keys = |i: usize, rotation: &Rotation| match rotation.scaling {
        Scaling::Llama3 { .. } | Scaling::Long { .. } | Scaling::Factors(_) if i == 0 => {
            Rotation { scaling: Scaling::None, ..rotation.clone() }
        }
        _ => rotation.clone(),
    };
    wanted.iter().enumerate().map(|(i, rotation)| in_keys(i, rotation)).eq(found.iter().cloned())
}

/// Whether two factors differ by roundings at most.
fn are_near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-6 * a.abs()
}
