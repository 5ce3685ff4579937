//! Model names to sources: `builtin:…`, a path, an address, `hf:owner/repo[:quant]`.

use crate::source::Source;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The files of one model, opened but not read.
pub struct ModelFiles {
    /// What to call the model.
    pub name: String,
    /// The weights: GGUF shards or safetensors shards in order.
    pub weights: Vec<Rc<dyn Source>>,
    /// The rest by file name: `config.json`, `tokenizer.json`, `tokenizer_config.json`, `1_Pooling/config.json`, …
    pub side: BTreeMap<String, Rc<dyn Source>>,
}
