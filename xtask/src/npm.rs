//! The npm package in `dist/npm`: the engine's scripts and the WebAssembly of the site, without the page.

use crate::shell;
use crate::site::{copy_file, copy_tree, grouped, sizes};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

const NPM: &str = "dist/npm";
/// The module that `import "trice"` gives.
const ENTRY: &str = "web/engine.js";
/// The script of the module that few who import it ever fetch.
const GRAMMARS: &str = "grammar.js";

/// Makes the package from a finished site.
pub(crate) fn build(site: &Path) -> Result<()> {
    let npm = PathBuf::from(NPM);
    if npm.exists() {
        fs::remove_dir_all(&npm).with_context(|| format!("cannot empty {NPM}"))?;
    }
    let mut n_gzip = 0;
    for script in reachable(site, Path::new(ENTRY))? {
        let folder = script.parent().context("a script stands in no folder")?;
        for file in belonging(site, &script)? {
            copy_file(&file, &npm.join(folder))?;
            let is_code = file.extension().is_some_and(|extension| extension == "js" || extension == "wasm");
            if is_code && !script.ends_with(GRAMMARS) {
                n_gzip += sizes(&file)?.1;
            }
        }
    }
    let types = Path::new(ENTRY).with_extension("d.ts");
    if site.join(&types).is_file() {
        copy_file(&site.join(&types), &npm.join("web"))?;
    }
    if site.join("models").is_dir() {
        copy_tree(&site.join("models"), &npm.join("models"))?;
    }
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy_file(Path::new(file), &npm)?;
    }
    let manifest = serde_json::to_string_pretty(&manifest(&shell::metadata()?, &types)?)?;
    fs::write(npm.join("package.json"), manifest + "\n").with_context(|| format!("cannot write {NPM}/package.json"))?;
    println!("   {NPM}: the npm package, {} bytes gzip without models and grammars", grouped(n_gzip));
    Ok(())
}

/// `package.json`, with what the crate says about itself.
fn manifest(metadata: &Value, types: &Path) -> Result<Value> {
    let packages = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == "trice").context("no package `trice`")?;
    let (entry, types) = (format!("./{ENTRY}"), format!("./{}", types.display()));
    Ok(json!({
        "name": "trice",
        "version": package["version"],
        "description": package["description"],
        "license": package["license"],
        "type": "module",
        // TypeScript takes the first condition that fits, so `types` stands first.
        "exports": { ".": { "types": types, "default": entry } },
        "types": types,
    }))
}

/// A script, and with one of `pkg` its WebAssembly and their types.
fn belonging(site: &Path, script: &Path) -> Result<Vec<PathBuf>> {
    if !script.starts_with("pkg") {
        return Ok(vec![site.join(script)]);
    }
    let module = script.file_stem().and_then(|name| name.to_str()).context("a script has no name")?;
    let entries = fs::read_dir(site.join("pkg")).context("cannot list pkg")?;
    let belongs = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '_']))
    };
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(belongs).collect())
}

/// `entry` and every script it imports, starts as a worker, or that those do; the scripts of `pkg` as they are. Paths are relative
/// to `site`.
fn reachable(site: &Path, entry: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![entry.to_path_buf()];
    while let Some(script) = open.pop() {
        if script.starts_with("pkg") {
            found.insert(script);
            continue;
        }
        if found.contains(&script) {
            continue;
        }
        let text = fs::read_to_string(site.join(&script)).with_context(|| format!("{}", script.display()))?;
        let folder = script.parent().unwrap_or(Path::new(""));
        open.extend(relative_scripts(&text).into_iter().map(|name| joined(folder, name)));
        found.insert(script);
    }
    Ok(found)
}

/// The string literals in a script that name another by a relative path.
fn relative_scripts(text: &str) -> Vec<&str> {
    let words = text.split(['"', '\'', '`', '\n']);
    let is_script = |word: &&str| (word.starts_with("./") || word.starts_with("../")) && word.ends_with(".js");
    words.filter(is_script).collect()
}

/// `folder/name` with `.` and `..` resolved.
fn joined(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for part in Path::new(name).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

#[cfg(test)]
mod npm_tests {
    use super::*;

    #[test]
    fn finds_imports_and_workers() {
        let script = "import './shim.js';\nnew Worker(new URL(\"../web/worker.js\", import.meta.url));\n\
                      const page = \"https://example.org/x.js\"; import(`../pkg/trice.js`);";
        assert_eq!(relative_scripts(script), ["./shim.js", "../web/worker.js", "../pkg/trice.js"]);
        assert_eq!(joined(Path::new("web"), "../pkg/./trice.js"), Path::new("pkg/trice.js"));
    }

    #[test]
    fn the_manifest_takes_the_version_of_the_crate() {
        let metadata = json!({ "packages": [{ "name": "xtask" }, { "name": "trice", "version": "1.2.3" }] });
        let manifest = manifest(&metadata, Path::new("web/engine.d.ts")).unwrap();
        assert_eq!(manifest["version"], "1.2.3");
        assert_eq!(manifest["exports"]["."]["default"], "./web/engine.js");
        let conditions: Vec<&String> = manifest["exports"]["."].as_object().unwrap().keys().collect();
        assert_eq!(conditions, ["types", "default"]);
    }
}
