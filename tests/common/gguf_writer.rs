//! A small GGUF writer for tests: right by default, and wrong wherever a test wants it to be.

use trice::format::DType;

/// Value kinds by the file's own numbers.
pub const U8: u32 = 0;
pub const U32: u32 = 4;
pub const I32: u32 = 5;
pub const F32: u32 = 6;
pub const BOOL: u32 = 7;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;
pub const F64: u32 = 12;

/// A text as the file has it: length, bytes.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// The header of an array, to be followed by its elements.
pub fn array(kind: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

/// A metadata entry from raw parts.
pub fn entry(key: impl AsRef<[u8]>, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(key), &kind.to_le_bytes()[..], value].concat()
}

/// A tensor description from raw parts; `dims` innermost first as in the file.
pub fn tensor(name: impl AsRef<[u8]>, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    [&string(name), &(dims.len() as u32).to_le_bytes()[..], &dims_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()]
        .concat()
}

/// A file from raw parts; the counts may lie.
pub struct RawFile {
    pub magic: [u8; 4],
    pub version: u32,
    pub n_tensors: Option<u64>,
    pub n_entries: Option<u64>,
    pub entries: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub alignment: usize,
    pub data: Vec<u8>,
}

impl Default for RawFile {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            n_tensors: None,
            n_entries: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
            data: Vec::new(),
        }
    }
}

impl RawFile {
    /// Header and descriptions without padding or data.
    pub fn header(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_entries.unwrap_or(self.entries.len() as u64).to_le_bytes());
        self.entries.iter().chain(&self.tensors).for_each(|part| out.extend(part));
        out
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header();
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// A right file, piece by piece.
#[derive(Default)]
pub struct GgufWriter {
    file: RawFile,
}

impl GgufWriter {
    pub fn uint(mut self, key: &str, value: u32) -> Self {
        self.file.entries.push(entry(key, U32, &value.to_le_bytes()));
        self
    }

    pub fn float(mut self, key: &str, value: f32) -> Self {
        self.file.entries.push(entry(key, F32, &value.to_le_bytes()));
        self
    }

    pub fn bool(mut self, key: &str, value: bool) -> Self {
        self.file.entries.push(entry(key, BOOL, &[value.into()]));
        self
    }

    pub fn string(mut self, key: &str, value: &str) -> Self {
        self.file.entries.push(entry(key, STRING, &string(value)));
        self
    }

    pub fn strings<T: AsRef<[u8]>>(mut self, key: &str, values: &[T]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(string).collect();
        self.file.entries.push(entry(key, ARRAY, &array(STRING, values.len() as u64, &elements)));
        self
    }

    pub fn floats(mut self, key: &str, values: &[f32]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file.entries.push(entry(key, ARRAY, &array(F32, values.len() as u64, &elements)));
        self
    }

    pub fn ints(mut self, key: &str, values: &[i32]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file.entries.push(entry(key, ARRAY, &array(I32, values.len() as u64, &elements)));
        self
    }

    pub fn bools(mut self, key: &str, values: &[bool]) -> Self {
        let elements: Vec<u8> = values.iter().map(|value| u8::from(*value)).collect();
        self.file.entries.push(entry(key, ARRAY, &array(BOOL, values.len() as u64, &elements)));
        self
    }

    /// A tensor of `shape` (outermost first) from its file bytes.
    pub fn tensor(mut self, name: &str, dtype: DType, shape: &[u64], bytes: &[u8]) -> Self {
        let dims: Vec<u64> = shape.iter().rev().copied().collect();
        self.file.tensors.push(tensor(name, &dims, dtype.gguf_id(), self.file.data.len() as u64));
        self.file.data.extend(bytes);
        let padded = self.file.data.len().next_multiple_of(self.file.alignment);
        self.file.data.resize(padded, 0);
        self
    }

    /// An F32 tensor of `shape` (outermost first).
    pub fn f32_tensor(self, name: &str, shape: &[u64], weights: &[f32]) -> Self {
        self.tensor(name, DType::F32, shape, bytemuck::cast_slice(weights))
    }

    pub fn finish(self) -> Vec<u8> {
        self.file.bytes()
    }
}
