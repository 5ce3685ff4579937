//! A model's files behind one face: tensors by GGUF name, metadata, and the side files. Holds no hyperparameters:
//! those are `model::config`'s.

use super::adapter::Adapted;
use super::names::Family;
use super::view::{View, columns_as_rows};
use super::{DType, Metadata, TensorInfo, blocks, gguf, safetensors};
use crate::error::{Error, Result};
use crate::hub::ModelFiles;
use crate::source::Source;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Bytes that a side file (`tokenizer.json`, `config.json`) may hold.
pub const MAX_SIDE_BYTES: u64 = 64 << 20;
/// Bytes of f32 that a tensor read whole may take: norms and biases are far below.
pub const MAX_F32_BYTES: u64 = 64 << 20;

/// How a model describes itself.
#[derive(Clone, Debug)]
pub enum Config {
    /// The metadata of a GGUF file.
    Gguf(Metadata),
    /// `config.json` of a Hugging Face folder; null where there is none, as beside a classification head.
    HuggingFace(serde_json::Value),
}

/// An opened model.
#[derive(Clone)]
pub struct Checkpoint {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) files: Vec<Rc<dyn Source>>,
    pub(super) side: BTreeMap<String, Rc<dyn Source>>,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    pub(super) safetensors_metadata: HashMap<String, String>,
    /// Types in the files of tensors that are rounded to another as they are read.
    pub(super) filed: HashMap<String, DType>,
    /// How much each column of those counts, by name.
    pub(super) importance: HashMap<String, Vec<f32>>,
    /// What adapters add to matrices, and how many adapters there are.
    pub(super) adapters: Vec<Adapted>,
    pub(super) n_adapters: usize,
    /// The stored bytes of the last matrix that was read transposed, with its name.
    pub(super) transposed: RefCell<Option<(String, Rc<Vec<u8>>)>>,
}

impl Checkpoint {
    /// Opens a model's files: reads and checks their headers, and nothing else.
    pub async fn open(files: ModelFiles) -> Result<Self> {
        let Some(first) = files.weights.first() else {
            return Err(Error::format(files.name, "a GGUF or safetensors file wanted, found no weights"));
        };
        match sniff(first.as_ref()).await? {
            Kind::Gguf => Self::open_gguf(files).await,
            Kind::Safetensors => Self::open_safetensors(files).await,
        }
    }

    async fn open_gguf(files: ModelFiles) -> Result<Self> {
        let mut headers = Vec::with_capacity(files.weights.len());
        for (index, file) in files.weights.iter().enumerate() {
            headers.push(gguf::read_header(file.as_ref(), index).await?);
        }
        let (metadata, tensors) = gguf::merge_splits(&files.weights, headers)?;
        Ok(Self {
            tensors: by_name(&files.name, tensors)?,
            name: files.name,
            config: Config::Gguf(metadata),
            files: files.weights,
            side: files.side,
            safetensors_metadata: HashMap::new(),
            filed: HashMap::new(),
            importance: HashMap::new(),
            adapters: Vec::new(),
            n_adapters: 0,
            transposed: RefCell::default(),
        })
    }

    async fn open_safetensors(files: ModelFiles) -> Result<Self> {
        let config = side_json(&files.side, "config.json").await?.unwrap_or_default();
        let family = Family::of(&config);
        let mut headers = Vec::with_capacity(files.weights.len());
        for (index, file) in files.weights.iter().enumerate() {
            headers.push(safetensors::read_header(file.as_ref(), index, &family).await?);
        }
        if let Some(index) = side_json(&files.side, safetensors::INDEX_FILE).await? {
            safetensors::check_index(&index, &files.weights, &headers)?;
        }
        let (mut tensors, mut metadata) = (Vec::new(), HashMap::new());
        for header in headers {
            tensors.extend(header.tensors);
            metadata.extend(header.metadata);
        }
        Ok(Self {
            tensors: by_name(&files.name, tensors)?,
            name: files.name,
            config: Config::HuggingFace(config),
            files: files.weights,
            side: files.side,
            safetensors_metadata: metadata,
            filed: HashMap::new(),
            importance: HashMap::new(),
            adapters: Vec::new(),
            n_adapters: 0,
            transposed: RefCell::default(),
        })
    }

    /// What to call the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the files of its weights are called: paths or addresses.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name())
    }

    /// How the model describes itself.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same tensors as a GGUF file with these keys and no side files would have them.
    pub(crate) fn described_by(&self, metadata: &Metadata) -> Self {
        Self { config: Config::Gguf(metadata.clone()), side: BTreeMap::new(), ..self.clone() }
    }

    /// The free-form texts of a safetensors header; empty for other files.
    pub fn safetensors_metadata(&self) -> &HashMap<String, String> {
        &self.safetensors_metadata
    }

    /// The bytes of a side file such as `tokenizer.json`, none where the model has no such file.
    pub async fn side_text(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read_side(&self.side, name).await
    }

    /// The tensor of this GGUF name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// Every tensor, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values()
    }

    /// Number of weights.
    pub fn n_params(&self) -> u64 {
        self.tensors().map(|tensor| tensor.rows() * tensor.cols()).sum()
    }

    /// Bytes of all tensors in their files.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors().map(|tensor| tensor.n_bytes).sum()
    }

    /// The bytes of `n_rows` rows from `first_row`, in the tensor's type. The caller chooses how many it can hold.
    pub async fn read_rows(&self, tensor: &TensorInfo, first_row: u64, n_rows: u64) -> Result<Vec<u8>> {
        let Some(&filed) = self.filed.get(&tensor.name) else {
            return self.read_filed(tensor, tensor.dtype, first_row, n_rows).await;
        };
        let bytes = self.read_filed(tensor, filed, first_row, n_rows).await?;
        self.check_finite(tensor, filed, first_row, &bytes)?;
        self.round(tensor, filed, &bytes)
    }

    /// As `read_rows`, refusing rows with weights that are no finite numbers.
    pub async fn read_finite_rows(&self, tensor: &TensorInfo, first_row: u64, n_rows: u64) -> Result<Vec<u8>> {
        let bytes = self.read_rows(tensor, first_row, n_rows).await?;
        self.check_finite(tensor, tensor.dtype, first_row, &bytes)?;
        Ok(bytes)
    }

    fn check_finite(&self, tensor: &TensorInfo, dtype: DType, first_row: u64, bytes: &[u8]) -> Result<()> {
        let Some(at) = blocks::first_non_finite(dtype, bytes) else { return Ok(()) };
        let (name, row) = (&tensor.name, first_row + at as u64 / tensor.cols());
        let reason = format!("tensor {name}: finite weights wanted, row {row} holds an infinity or NaN");
        Err(Error::format(&self.name, reason))
    }

    /// The file's bytes of rows, which are of type `filed` there.
    async fn read_filed(&self, tensor: &TensorInfo, filed: DType, first_row: u64, n_rows: u64) -> Result<Vec<u8>> {
        let row_bytes = filed.row_bytes(tensor.cols()).unwrap_or(0);
        if first_row.checked_add(n_rows).is_none_or(|end| end > tensor.rows()) {
            let (name, rows) = (&tensor.name, tensor.rows());
            return Err(Error::invalid(format!("tensor {name}: rows {first_row} + {n_rows} wanted, it has {rows}")));
        }
        let Some(file) = self.files.get(tensor.file) else {
            return Err(Error::invalid(format!("tensor {} belongs to another checkpoint", tensor.name)));
        };
        let read = async |first: u64, n: u64, row_bytes: u64| -> Result<Vec<u8>> {
            // Rows that exist lie in the file: these products were checked when it was opened.
            let n_bytes = n * row_bytes;
            let n_bytes = usize::try_from(n_bytes).map_err(|_| Error::Limit {
                what: format!("bytes of memory for tensor {}", tensor.name),
                needed: n_bytes,
                available: usize::MAX as u64,
            })?;
            file.read(tensor.offset + first * row_bytes, n_bytes).await
        };
        if tensor.view == View::Transposed {
            let (rows, value_bytes) = (tensor.rows(), filed.block_bytes());
            let last = self.transposed.borrow().clone().filter(|(name, _)| *name == tensor.name);
            let stored = match last {
                Some((_, stored)) => stored,
                None => Rc::new(read(0, tensor.cols(), rows * value_bytes as u64).await?),
            };
            // Every piece of a matrix wants all of it: the last one is kept.
            *self.transposed.borrow_mut() = Some((tensor.name.clone(), stored.clone()));
            return Ok(columns_as_rows(&stored, value_bytes, rows as usize, first_row as usize, n_rows as usize));
        }
        let runs = tensor.view.runs(first_row, n_rows);
        if let View::Interleaved { .. } = tensor.view {
            // Neighbours in a head, or in the next one: they are read at once.
            let start = runs.iter().map(|(first, _)| *first).min().unwrap_or(0);
            let end = runs.iter().map(|(first, n)| first + n).max().unwrap_or(0);
            let stored = read(start, end - start, row_bytes).await?;
            let row = |row: u64| &stored[((row - start) * row_bytes) as usize..][..row_bytes as usize];
            return Ok(runs.iter().flat_map(|(first, n)| (*first..first + n).flat_map(row)).copied().collect());
        }
        let mut bytes = Vec::new();
        for (first, n) in runs {
            let run = read(first, n, row_bytes).await?;
            if bytes.is_empty() { bytes = run } else { bytes.extend(run) }
        }
        Ok(bytes)
    }

    /// All weights of a small tensor (a norm, a bias) as finite f32.
    pub async fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let Some(tensor) = self.tensor(name) else {
            return Err(Error::format(&self.name, format!("tensor {name} wanted, found none")));
        };
        let needed = (tensor.rows() * tensor.cols()).saturating_mul(4);
        if needed > MAX_F32_BYTES {
            let what = format!("bytes of f32 for tensor {name}");
            return Err(Error::Limit { what, needed, available: MAX_F32_BYTES });
        }
        let bytes = self.read_rows(tensor, 0, tensor.rows()).await?;
        let weights = blocks::dequantize(tensor.dtype, &bytes);
        match weights.iter().position(|weight| !weight.is_finite()) {
            None => Ok(weights),
            Some(at) => {
                let found = weights[at];
                Err(Error::format(&self.name, format!("tensor {name}: finite weights wanted, found {found} at {at}")))
            }
        }
    }
}

/// The kinds of files that hold weights.
pub(super) enum Kind {
    Gguf,
    Safetensors,
}

/// First bytes of what people take for a model, and what it is.
const LOOK_ALIKES: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint? convert it to safetensors)"),
    (b"\x80\x02", "a Python pickle (convert it to safetensors)"),
    (b"\x80\x04", "a Python pickle (convert it to safetensors)"),
    (b"tjgg", "a llama.cpp file from before GGUF"),
    (b"fmgg", "a llama.cpp file from before GGUF"),
    (b"lmgg", "a llama.cpp file from before GGUF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer (the file itself was not downloaded)"),
    (b"<", "a web page (an error page saved in place of the model?)"),
    (b"{", "JSON"),
];

/// Tells the format by the first bytes.
pub(super) async fn sniff(source: &dyn Source) -> Result<Kind> {
    let start = source.read(0, source.len().min(32) as usize).await?;
    if start.starts_with(gguf::MAGIC) {
        return Ok(Kind::Gguf);
    }
    // safetensors: the header's length as eight bytes, then JSON.
    if start.get(8) == Some(&b'{') && start[7] == 0 {
        return Ok(Kind::Safetensors);
    }
    let found = match LOOK_ALIKES.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, what)) => (*what).to_owned(),
        None if start.is_empty() => "an empty file".to_owned(),
        None if start.iter().all(|&byte| byte == 0) => "zeros (an unfinished download?)".to_owned(),
        None => format!("bytes {:02x?}", &start[..start.len().min(8)]),
    };
    Err(Error::format(source.name(), format!("a GGUF or safetensors file wanted, found {found}")))
}

async fn read_side(side: &BTreeMap<String, Rc<dyn Source>>, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(source) = side.get(name) else { return Ok(None) };
    if source.len() > MAX_SIDE_BYTES {
        let what = format!("bytes of {}", source.name());
        return Err(Error::Limit { what, needed: source.len(), available: MAX_SIDE_BYTES });
    }
    source.read(0, source.len() as usize).await.map(Some)
}

pub(super) async fn side_json(
    side: &BTreeMap<String, Rc<dyn Source>>,
    name: &str,
) -> Result<Option<serde_json::Value>> {
    let Some(bytes) = read_side(side, name).await? else { return Ok(None) };
    let json = serde_json::from_slice(&bytes).map_err(|error| Error::format(name, format!("JSON: {error}")))?;
    Ok(Some(json))
}

fn by_name(model: &str, tensors: Vec<TensorInfo>) -> Result<BTreeMap<String, TensorInfo>> {
    let mut by_name = BTreeMap::new();
    for tensor in tensors {
        if let Some(twice) = by_name.insert(tensor.name.clone(), tensor) {
            return Err(Error::format(model, format!("tensor {} stands twice", twice.name)));
        }
    }
    Ok(by_name)
}
