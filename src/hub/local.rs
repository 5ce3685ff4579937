//! Models on disk.

use super::ModelFiles;
use super::listing::{PEFT_CONFIG, PEFT_WEIGHTS, SIDE_FILES, is_safetensors_shard, shards};
use crate::error::{Error, Result};
use crate::source::{FileSource, Source};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// Opens a GGUF file (all parts of a split one), a safetensors file, or a folder.
pub(super) fn open(path: &Path) -> Result<ModelFiles> {
    if path.is_dir() {
        return open_folder(path);
    }
    if !path.exists() {
        return Err(Error::io(path.display().to_string(), not_found(path)));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut files = ModelFiles { name: path.display().to_string(), weights: Vec::new(), side: BTreeMap::new() };
    for shard in shards(file_name) {
        let shard = if shard == file_name { path.to_owned() } else { folder.join(shard) };
        if !shard.exists() {
            let shard = shard.display();
            return Err(Error::format(&files.name, format!("a part of a split model, its part {shard} is missing")));
        }
        files.weights.push(Rc::new(FileSource::open(shard)?));
    }
    if file_name.ends_with(".safetensors") {
        files.side = side_files(folder)?;
    }
    Ok(files)
}

fn open_folder(folder: &Path) -> Result<ModelFiles> {
    let name = folder.display().to_string();
    let names = file_names(folder);
    let weights: Vec<&String> = match names.iter().find(|name| *name == "model.safetensors") {
        Some(single) => vec![single],
        None if names.iter().any(|name| name == PEFT_CONFIG) => {
            names.iter().filter(|name| *name == PEFT_WEIGHTS).collect()
        }
        None => names.iter().filter(|name| is_safetensors_shard(name)).collect(),
    };
    if weights.is_empty() {
        let ggufs: Vec<&String> = names.iter().filter(|name| name.ends_with(".gguf")).collect();
        let one_model = ggufs.first().is_some_and(|first| shards(first).len() == ggufs.len());
        return match ggufs.first() {
            Some(first) if one_model => open(&folder.join(first)),
            Some(_) => Err(Error::invalid(format!("{name}: it holds several models, name one: {ggufs:?}"))),
            None => Err(Error::format(name, "a folder with config.json and model.safetensors wanted")),
        };
    }
    if !names.iter().any(|name| name == "config.json" || name == PEFT_CONFIG) {
        return Err(Error::format(name, "it has safetensors but no config.json"));
    }
    let open = |file: &String| -> Result<Rc<dyn Source>> { Ok(Rc::new(FileSource::open(folder.join(file))?)) };
    let weights = weights.into_iter().map(open).collect::<Result<_>>()?;
    Ok(ModelFiles { name, weights, side: side_files(folder)? })
}

fn side_files(folder: &Path) -> Result<BTreeMap<String, Rc<dyn Source>>> {
    let mut side: BTreeMap<String, Rc<dyn Source>> = BTreeMap::new();
    for file in SIDE_FILES {
        let path = folder.join(file);
        if path.is_file() {
            side.insert(file.to_owned(), Rc::new(FileSource::open(path)?));
        }
    }
    Ok(side)
}

/// Names in a folder, sorted; none when it cannot be read.
fn file_names(folder: &Path) -> Vec<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whether it reads as `owner/repository`.
fn is_like_a_repository(path: &Path) -> bool {
    let has_two_names =
        path.components().count() == 2 && path.components().all(|part| matches!(part, Component::Normal(_)));
    has_two_names && path.extension().is_none_or(|extension| extension != "gguf")
}

/// Names the nearest file in the folder that exists, or the hub's spelling where the name looks like a repository.
fn not_found(path: &Path) -> std::io::Error {
    let mut folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    while !folder.as_os_str().is_empty() && !folder.is_dir() {
        wanted = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        folder = folder.parent().map_or_else(PathBuf::new, Path::to_owned);
    }
    let names = file_names(&folder);
    let nearest =
        names.into_iter().max_by(|a, b| strsim::jaro_winkler(a, &wanted).total_cmp(&strsim::jaro_winkler(b, &wanted)));
    let mut words = "no such file".to_owned();
    if let Some(nearest) = nearest.filter(|name| strsim::jaro_winkler(name, &wanted) > 0.8) {
        words.push_str(&format!("; did you mean {}", folder.join(nearest).display()));
    } else if is_like_a_repository(path) {
        words.push_str(&format!("; for a model of the hub write hf:{}", path.display()));
    }
    std::io::Error::new(std::io::ErrorKind::NotFound, words)
}
