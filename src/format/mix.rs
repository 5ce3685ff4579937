//! Which type each matrix of a model gets when it is rounded: the mixes that people know from llama.cpp, by name.

use super::{DType, TensorInfo};
use crate::error::{Error, Result};

/// The layers whose most sensitive matrices get the better type.
#[derive(Clone, Copy, Debug)]
enum Layers {
    All,
    /// The first and last eighth, and every third between.
    Half,
    FirstEighth,
}

/// A choice of types by a tensor's name.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// `Q4_K_M`.
    pub name: &'static str,
    base: DType,
    /// Of `attn_v` and `ffn_down`, in these layers.
    sensitive: (DType, Layers),
    /// Of `attn_output`.
    attn_output: DType,
    /// Of the embedding and the head, where someone said so.
    embeddings: Option<DType>,
}

const fn mix(name: &'static str, base: DType, sensitive: DType, layers: Layers, attn_output: DType) -> Mix {
    Mix { name, base, sensitive: (sensitive, layers), attn_output, embeddings: None }
}

/// Mixes of several types. All other names are those of types, which every matrix gets.
const MIXES: &[Mix] = &[
    mix("Q2_K", DType::Q2_K, DType::Q3_K, Layers::All, DType::Q3_K),
    mix("Q3_K_S", DType::Q3_K, DType::Q3_K, Layers::All, DType::Q3_K),
    mix("Q3_K_M", DType::Q3_K, DType::Q4_K, Layers::All, DType::Q4_K),
    mix("Q3_K_L", DType::Q3_K, DType::Q5_K, Layers::All, DType::Q5_K),
    mix("Q4_K_S", DType::Q4_K, DType::Q5_K, Layers::FirstEighth, DType::Q4_K),
    mix("Q4_K_M", DType::Q4_K, DType::Q6_K, Layers::Half, DType::Q4_K),
    mix("Q5_K_S", DType::Q5_K, DType::Q5_K, Layers::All, DType::Q5_K),
    mix("Q5_K_M", DType::Q5_K, DType::Q6_K, Layers::Half, DType::Q5_K),
];

/// Matrices that are small and count much, or that no product multiplies by.
const KEPT: [&str; 4] = ["position_embd", "token_types", "cls.output", "ffn_gate_inp"];

impl Mix {
    /// The mix of this name, in any case.
    ///
    /// # Errors
    /// `Invalid` for a name that is no mix and no type, listing all.
    pub fn from_name(name: &str) -> Result<Self> {
        let known = MIXES.iter().find(|mix| mix.name.eq_ignore_ascii_case(name)).copied();
        let plain = |dtype: DType| mix(dtype.name(), dtype, dtype, Layers::All, dtype);
        known.or_else(|| DType::from_name(name).map(plain)).ok_or_else(|| {
            let mut names: Vec<&str> = DType::all().map(DType::name).collect();
            names.extend(MIXES.iter().map(|mix| mix.name).filter(|name| DType::from_name(name).is_none()));
            Error::invalid(format!("a type of {} wanted, found {name:?}", names.join(", ")))
        })
    }

    /// The same with another type for the embedding and the head.
    pub fn with_embeddings(self, dtype: DType) -> Self {
        Self { embeddings: Some(dtype), ..self }
    }

    /// Whether `tensor` is a matrix that is rounded at all; norms, biases and a few small matrices are not.
    pub fn rounds(tensor: &TensorInfo) -> bool {
        let is_matrix = tensor.shape.len() >= 2 && tensor.name.ends_with(".weight") && !tensor.name.contains("norm");
        is_matrix && !KEPT.iter().any(|kept| tensor.name.contains(kept))
    }

    /// The type of the matrix called `name`, with rows of `cols` weights, in a model of `n_layers`. Rows that are no whole blocks
    /// get a type of shorter blocks.
    pub fn dtype_of(&self, name: &str, cols: u64, n_layers: u64) -> DType {
        fitting(self.wanted(name, n_layers), cols)
    }

    /// Whether rows of `tensor` are no whole blocks of the type that it would get.
    pub fn falls_back(&self, tensor: &TensorInfo, n_layers: u64) -> bool {
        self.wanted(&tensor.name, n_layers).row_bytes(tensor.cols()).is_none()
    }

    fn wanted(&self, name: &str, n_layers: u64) -> DType {
        let has = |part: &str| name.split('.').any(|found| found == part);
        if has("token_embd") || has("output") {
            self.embeddings.unwrap_or(self.of_embeddings())
        } else if has("attn_v") || has("ffn_down") {
            let (dtype, layers) = self.sensitive;
            if is_among(layers, layer_of(name), n_layers) { dtype } else { self.base }
        } else if has("attn_output") {
            self.attn_output
        } else {
            self.base
        }
    }

    /// What is read once per token and decides all of them is worth six bits.
    fn of_embeddings(&self) -> DType {
        if self.base.is_float() || self.base == DType::Q8_0 { self.base } else { DType::Q6_K }
    }

    /// llama.cpp's number for a file of this mix, where it has one.
    pub fn file_type(&self) -> Option<u64> {
        const NUMBERS: &[(&str, u64)] = &[
            ("F32", 0),
            ("F16", 1),
            ("BF16", 32),
            ("Q4_0", 2),
            ("Q4_1", 3),
            ("Q8_0", 7),
            ("Q5_0", 8),
            ("Q5_1", 9),
            ("Q2_K", 10),
            ("Q3_K_S", 11),
            ("Q3_K_M", 12),
            ("Q3_K_L", 13),
            ("Q4_K_S", 14),
            ("Q4_K_M", 15),
            ("Q5_K_S", 16),
            ("Q5_K_M", 17),
            ("Q6_K", 18),
        ];
        NUMBERS.iter().find(|(name, _)| *name == self.name).map(|(_, number)| *number)
    }
}

/// `wanted`, or where rows of `cols` are no whole blocks of it, a type of blocks of 32 with about as many bits, or F16.
fn fitting(wanted: DType, cols: u64) -> DType {
    let fits = |dtype: DType| cols.is_multiple_of(dtype.block_len() as u64);
    let shorter = match wanted {
        DType::Q2_K | DType::Q3_K => DType::Q4_0,
        DType::IQ4_XS => DType::IQ4_NL,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        _ => DType::Q8_0,
    };
    [wanted, shorter].into_iter().find(|dtype| fits(*dtype)).unwrap_or(DType::F16)
}

/// The number in `blk.7.attn_q.weight`; 0 where there is none.
pub(super) fn layer_of(name: &str) -> u64 {
    let number = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse::<u32>().ok()).map_or(0, u64::from)
}

fn is_among(layers: Layers, layer: u64, n_layers: u64) -> bool {
    let eighth = n_layers / 8;
    match layers {
        Layers::All => true,
        Layers::FirstEighth => layer < eighth,
        Layers::Half => layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mix_gives_half_of_the_sensitive_matrices_six_bits() {
        let mix = Mix::from_name("q4_k_m").unwrap();
        let of = |name: &str| mix.dtype_of(name, 2048, 16);
        assert_eq!(of("blk.3.attn_q.weight"), DType::Q4_K);
        assert_eq!(of("blk.3.attn_output.weight"), DType::Q4_K);
        assert_eq!(of("token_embd.weight"), DType::Q6_K);
        assert_eq!(of("output.weight"), DType::Q6_K);
        let down = (0..16).filter(|layer| of(&format!("blk.{layer}.ffn_down.weight")) == DType::Q6_K);
        assert_eq!(down.collect::<Vec<_>>(), [0, 1, 4, 7, 10, 13, 14, 15]);
        assert_eq!(mix.with_embeddings(DType::Q4_K).dtype_of("token_embd.weight", 2048, 16), DType::Q4_K);
    }

    #[test]
    fn rows_of_no_whole_blocks_get_shorter_blocks() {
        let of = |mix: &str, cols| Mix::from_name(mix).unwrap().dtype_of("blk.0.attn_q.weight", cols, 8);
        assert_eq!([of("Q2_K", 576), of("Q4_K_S", 576), of("Q5_K_M", 576)], [DType::Q4_0, DType::Q5_0, DType::Q5_1]);
        assert_eq!([of("Q6_K", 288), of("Q4_0", 40), of("F32", 40)], [DType::Q8_0, DType::F16, DType::F32]);
    }

    #[test]
    fn an_unknown_mix_is_refused_with_all_known_ones() {
        let error = Mix::from_name("Q9_K").unwrap_err().to_string();
        assert!(error.contains("Q9_K") && error.contains("Q4_K_M") && error.contains("MXFP4"), "{error}");
    }
}
