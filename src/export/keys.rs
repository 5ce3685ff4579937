//! Hyperparameters as GGUF's keys, without the architecture's name before them.

use crate::format::Value;
use crate::kernels::attention::{NO_WINDOW, Rope};
use crate::kernels::elementwise::Pooling;
use crate::model::config::{DecoderConfig, EncoderConfig, NormType, Rotation, Shape};
use crate::model::rope::Scaling;

pub(super) type Keys = Vec<(&'static str, Value)>;

/// Tensors of a file that a folder does not have.
pub(super) type Given = Vec<(&'static str, Vec<f32>)>;

fn uint(value: u32) -> Value {
    Value::U64(value.into())
}

fn float(value: f32) -> Value {
    Value::F64(value.into())
}

/// What a decoder's keys are.
pub(super) fn decoder_keys(config: &DecoderConfig) -> Keys {
    let shape = &config.shape;
    let mut keys = shape_keys(shape, config.norm);
    keys.extend(rotation_keys(decoder_rope(config), shape, &config.rotations));
    let windows: Vec<u32> = config.layers.iter().map(|layer| layer.window).collect();
    keys.extend(window_keys(&windows, |i, n| (i + 1).is_multiple_of(n)));
    keys.push(("attention.scale", float(config.attention_scale)));
    let softcaps =
        [("attn_logit_softcapping", config.attention_softcap), ("final_logit_softcapping", config.logit_softcap)];
    keys.extend(softcaps.into_iter().filter_map(|(key, bound)| Some((key, float(bound?)))));
    let factors = [
        ("embedding_scale", config.embedding_scale),
        ("residual_scale", config.residual_scale),
        // Files divide by it.
        ("logit_scale", 1.0 / config.logit_scale),
    ];
    keys.extend(factors.into_iter().filter(|(_, factor)| *factor != 1.0).map(|(key, factor)| (key, float(factor))));
    // Of the architectures that norm so, some have layers of both kinds.
    if config.is_parallel || config.norm == NormType::Layer {
        keys.push(("use_parallel_residual", Value::Bool(config.is_parallel)));
    }
    keys
}

/// What an encoder's keys are, which embeds by `pooling`.
pub(super) fn encoder_keys(config: &EncoderConfig, pooling: Pooling) -> Keys {
    let shape = &config.shape;
    let mut keys = shape_keys(shape, NormType::Layer);
    keys.extend(rotation_keys(encoder_rope(config), shape, &config.rotations));
    // As wide as all that is seen, on both sides.
    let width = |window: u32| if window == NO_WINDOW { window } else { 2 * (window - 1) };
    let windows: Vec<u32> = config.layers.iter().map(|layer| width(layer.window)).collect();
    keys.extend(window_keys(&windows, |i, n| i.is_multiple_of(n)));
    // llama.cpp's numbers.
    let pooling = match pooling {
        Pooling::Mean => 1,
        Pooling::Cls => 2,
        Pooling::Last => 3,
    };
    keys.extend([("attention.causal", Value::Bool(false)), ("pooling_type", Value::U64(pooling))]);
    if !config.labels.is_empty() {
        keys.push(("classifier.output_labels", Value::Strings(config.labels.clone())));
    }
    keys
}

/// How a decoder's layers rotate, where they do.
pub(super) fn decoder_rope(config: &DecoderConfig) -> Rope {
    first_rope(config.layers.iter().map(|layer| layer.rope))
}

/// How an encoder's layers rotate, where they do.
pub(super) fn encoder_rope(config: &EncoderConfig) -> Rope {
    first_rope(config.layers.iter().map(|layer| layer.rope))
}

fn first_rope(mut ropes: impl Iterator<Item = Rope>) -> Rope {
    ropes.find(|rope| *rope != Rope::None).unwrap_or(Rope::None)
}

fn shape_keys(shape: &Shape, norm: NormType) -> Keys {
    let norm_eps = match norm {
        NormType::Rms => "attention.layer_norm_rms_epsilon",
        NormType::Layer => "attention.layer_norm_epsilon",
    };
    vec![
        ("block_count", uint(shape.n_layers)),
        ("context_length", uint(shape.context_len)),
        ("embedding_length", uint(shape.dim)),
        ("feed_forward_length", uint(shape.ffn_dim)),
        ("attention.head_count", uint(shape.n_heads)),
        ("attention.head_count_kv", uint(shape.n_kv_heads)),
        ("attention.key_length", uint(shape.head_dim)),
        ("attention.value_length", uint(shape.head_dim)),
        ("vocab_size", uint(shape.vocab_size)),
        (norm_eps, float(shape.norm_eps)),
    ]
}

/// Bases of the rotations and how the first is stretched.
fn rotation_keys(rope: Rope, shape: &Shape, rotations: &[Rotation]) -> Keys {
    if rope == Rope::None {
        return Keys::new();
    }
    let mut keys = vec![
        ("rope.dimension_count", uint(rope.rotated(shape.head_dim))),
        ("rope.freq_base", Value::F64(rotations[0].theta)),
    ];
    keys.extend(rotations.get(1).map(|local| ("rope.freq_base_swa", Value::F64(local.theta))));
    let kind = |kind: &str| ("rope.scaling.type", Value::String(kind.to_owned()));
    let original = |len: f64| ("rope.scaling.original_context_length", Value::U64(len as u64));
    match &rotations[0].scaling {
        Scaling::Linear { factor } => keys.extend([kind("linear"), ("rope.scaling.factor", Value::F64(*factor))]),
        Scaling::Yarn(yarn) => keys.extend([
            kind("yarn"),
            ("rope.scaling.factor", Value::F64(yarn.factor)),
            original(yarn.original_len),
            ("rope.scaling.yarn_attn_factor", Value::F64(yarn.magnitude)),
            ("rope.scaling.yarn_beta_fast", Value::F64(yarn.beta_fast)),
            ("rope.scaling.yarn_beta_slow", Value::F64(yarn.beta_slow)),
        ]),
        Scaling::Long { original_len, magnitude, .. } => keys.extend([
            kind("longrope"),
            original(*original_len),
            ("rope.scaling.attn_factor", Value::F64(*magnitude)),
        ]),
        // The factors of both are tensors; dynamic ones no file says.
        Scaling::None | Scaling::Llama3 { .. } | Scaling::Factors(_) | Scaling::Dynamic { .. } => {}
    }
    keys
}

/// What the frequencies of a head's rotations are divided by, where that is what files say of `rotation`.
pub(super) fn rotation_tensors(rope: Rope, shape: &Shape, rotation: &Rotation) -> Given {
    match &rotation.scaling {
        _ if rope == Rope::None => Given::new(),
        scaling @ (Scaling::Llama3 { .. } | Scaling::Factors(_)) => {
            vec![("rope_freqs.weight", scaling.factors(rotation.theta, rope.rotated(shape.head_dim)))]
        }
        Scaling::Long { short, long, .. } => {
            vec![("rope_factors_long.weight", long.clone()), ("rope_factors_short.weight", short.clone())]
        }
        Scaling::None | Scaling::Linear { .. } | Scaling::Yarn(_) | Scaling::Dynamic { .. } => Given::new(),
    }
}

/// How wide a window is and which layers see it only: all but each of which `sees_all(layer, n)`, for some n, or a list of all.
fn window_keys(windows: &[u32], sees_all: impl Fn(usize, usize) -> bool) -> Keys {
    let Some(width) = windows.iter().find(|window| **window != NO_WINDOW) else { return Keys::new() };
    let has_window: Vec<bool> = windows.iter().map(|window| *window != NO_WINDOW).collect();
    let fits = |n: &usize| has_window.iter().enumerate().all(|(i, has_window)| *has_window != sees_all(i, *n));
    let pattern = match (2..=windows.len()).find(fits) {
        Some(n) => Value::U64(n as u64),
        None => Value::Bools(has_window),
    };
    vec![("attention.sliding_window", uint(*width)), ("attention.sliding_window_pattern", pattern)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_told_by_a_number_where_one_tells_them() {
        let keys = |windows: &[u32]| window_keys(windows, |i, n| (i + 1).is_multiple_of(n));
        let pattern = |windows: &[u32]| keys(windows)[1].1.clone();
        assert!(keys(&[NO_WINDOW; 2]).is_empty());
        assert_eq!(keys(&[8, NO_WINDOW])[0], ("attention.sliding_window", Value::U64(8)));
        assert_eq!(pattern(&[8, 8, NO_WINDOW, 8]), Value::U64(3));
        assert_eq!(pattern(&[8, 8]), Value::Bools(vec![true, true]));
        assert_eq!(pattern(&[NO_WINDOW, 8, 8, NO_WINDOW]), Value::Bools(vec![false, true, true, false]));
    }
}
