//! `cargo xtask web`: the static site in `dist/site`. The npm package is made from the same files.

use crate::shell::{self, cargo};
use crate::{machine, npm};
use anyhow::{Context, Result, anyhow, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasm_bindgen_cli_support::Bindgen;

const SITE: &str = "dist/site";

/// A WebAssembly module of the site: `pkg/NAME.js` beside `pkg/NAME_bg.wasm`.
struct Module {
    name: &'static str,
    package: &'static str,
    /// Bytes that a server may send of it at most, compressed.
    limit: usize,
}

/// What a visit loads (with its scripts 1.3 MB), what the first answer under a grammar does, and what the first one in Markdown.
const MODULES: [Module; 3] = [
    Module { name: "trice", package: "trice", limit: 1_255_000 },
    Module { name: "grammar", package: "trice-grammar", limit: 500_000 },
    Module { name: "markdown", package: "trice-markdown", limit: 100_000 },
];

/// How the WebAssembly is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Small and fast: what is published.
    Web,
    /// Quick to compile: for developing and for tests.
    Dev,
}

/// The site and the npm package.
pub(crate) fn build_all(profile: Profile) -> Result<()> {
    shell::heading("Setting the machine up");
    machine::ensure_wasm_target()?;
    shell::heading("The page");
    let site = build_site(profile)?;
    npm::build(&site)?;
    println!("   serve {SITE} with any static server, under any path; or `cargo xtask run`");
    Ok(())
}

/// Builds `dist/site` and returns its path.
pub(crate) fn build_site(profile: Profile) -> Result<PathBuf> {
    let compiled = MODULES.iter().map(|module| compile(module, profile)).collect::<Result<Vec<_>>>()?;
    let site = PathBuf::from(SITE);
    if site.exists() {
        fs::remove_dir_all(&site).with_context(|| format!("cannot empty {SITE}"))?;
    }
    let pkg = site.join("pkg");
    println!("-> making the JavaScript side of the modules with wasm-bindgen");
    for (module, wasm) in MODULES.iter().zip(&compiled) {
        bind(module, wasm, &pkg, profile)?;
        if profile == Profile::Web {
            optimize(&module.file(&pkg))?;
        }
    }
    copy_file(Path::new("index.html"), &site)?;
    copy_tree(Path::new("web"), &site.join("web"))?;
    copy_models(&site.join("models"))?;
    write_service_worker(&site)?;
    for module in &MODULES {
        let n_gzip = print_size(&module.file(&pkg))?;
        if profile == Profile::Web {
            module.check_size(n_gzip)?;
        }
        print_size(&pkg.join(module.name).with_extension("js"))?;
    }
    Ok(site)
}

impl Module {
    fn file(&self, pkg: &Path) -> PathBuf {
        pkg.join(format!("{}_bg.wasm", self.name))
    }

    fn check_size(&self, n_gzip: usize) -> Result<()> {
        if n_gzip > self.limit {
            bail!("module {}: {} bytes gzip, {} wanted at most", self.name, grouped(n_gzip), grouped(self.limit));
        }
        Ok(())
    }
}

/// Compiles a package to WebAssembly and returns the file.
fn compile(module: &Module, profile: Profile) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["rustc", "--package", module.package, "--lib", "--no-default-features"]);
    // No other type beside it: cargo would leave out link-time optimization, and the page's module would be a twelfth larger.
    build.args(["--crate-type", "cdylib", "--target", "wasm32-unknown-unknown"]);
    let folder = match profile {
        Profile::Web => {
            build.args(["--profile", "web"]);
            "web"
        }
        Profile::Dev => "debug",
    };
    shell::run(&mut build, &format!("compiling {} to WebAssembly", module.package))?;
    let file = format!("{}.wasm", module.package.replace('-', "_"));
    Ok(shell::target_dir()?.join("wasm32-unknown-unknown").join(folder).join(file))
}

/// wasm-bindgen as a library: its version is the locked one, and nobody installs it by hand.
fn bind(module: &Module, wasm: &Path, pkg: &Path, profile: Profile) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_bytes(module.name, callable(wasm)?).typescript(false).out_name(module.name);
    // The script finds the module beside itself; unlike the command, the library does not write that by default.
    bindgen.omit_default_module_path(false);
    // Names make a panic readable, and the module much larger.
    bindgen.remove_name_section(profile == Profile::Web).remove_producers_section(profile == Profile::Web);
    bindgen.web(true).and_then(|bindgen| bindgen.generate(pkg)).map_err(|error| anyhow!("wasm-bindgen: {error:#}"))
}

/// A compiled module without the interface for C that `llguidance` exports wherever it is linked: what only that calls then goes, too.
fn callable(wasm: &Path) -> Result<Vec<u8>> {
    let mut module = walrus::Module::from_file(wasm).map_err(|error| anyhow!("{}: {error:#}", wasm.display()))?;
    let for_c = module.exports.iter().filter(|export| export.name.starts_with("llg_"));
    for id in for_c.map(|export| export.id()).collect::<Vec<_>>() {
        module.exports.delete(id);
    }
    Ok(module.emit_wasm())
}

/// Shrinks the module further where Binaryen happens to be installed.
fn optimize(module: &Path) -> Result<()> {
    let Some(wasm_opt) = shell::find_program(&["wasm-opt"]) else { return Ok(()) };
    let mut command = Command::new(wasm_opt);
    // What every browser with WebGPU knows and rustc or wasm-bindgen may have used.
    for feature in
        ["bulk-memory", "multivalue", "mutable-globals", "nontrapping-float-to-int", "reference-types", "sign-ext"]
    {
        command.arg(format!("--enable-{feature}"));
    }
    command.arg("-Os").arg(module).arg("-o").arg(module);
    shell::run(&mut command, "wasm-opt is installed: shrinking the module")
}

/// The service worker stands beside the page, since it serves only what lies beside or below itself, and begins with what it keeps.
fn write_service_worker(site: &Path) -> Result<()> {
    let script = site.join("web/sw.js");
    let worker = fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    fs::remove_file(&script).with_context(|| format!("cannot remove {}", script.display()))?;
    let mut files = Vec::new();
    list_files(site, &mut files)?;
    let mut hasher = DefaultHasher::new();
    worker.hash(&mut hasher);
    let mut names = Vec::new();
    for file in &files {
        fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
        let parts: Vec<_> = file.strip_prefix(site)?.iter().map(|part| part.to_string_lossy()).collect();
        names.push(parts.join("/"));
    }
    let kept = json!({ "version": format!("{:016x}", hasher.finish()), "files": names });
    let target = site.join("sw.js");
    fs::write(&target, format!("const SITE = {kept};\n{worker}"))
        .with_context(|| format!("cannot write {}", target.display()))
}

/// All files of a folder that a browser may ask for, in the order of their names.
fn list_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list_files(&path, found)?;
        } else if !path.to_string_lossy().ends_with(".d.ts") {
            found.push(path);
        }
    }
    Ok(())
}

/// The built-in models, so that the page answers without any download.
fn copy_models(to: &Path) -> Result<()> {
    let entries = fs::read_dir("models").context("cannot list models")?;
    for file in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if file.extension().is_some_and(|extension| extension == "gguf") {
            copy_file(&file, to)?;
        }
    }
    Ok(())
}

/// Copies a file into a folder, which is made where it is missing.
pub(crate) fn copy_file(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(file, folder.join(name))
        .with_context(|| format!("cannot copy {} to {}", file.display(), folder.display()))?;
    Ok(())
}

/// Copies a folder with all it holds.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let path = entry.path();
        if path.is_dir() {
            copy_tree(&path, &to.join(entry.file_name()))?;
        } else {
            copy_file(&path, to)?;
        }
    }
    Ok(())
}

/// Prints a file's size as it is and as a server sends it, and returns the latter.
fn print_size(file: &Path) -> Result<usize> {
    let (n_bytes, n_gzip) = sizes(file)?;
    println!("   {}: {} bytes, {} gzip", file.display(), grouped(n_bytes), grouped(n_gzip));
    Ok(n_gzip)
}

/// Bytes of a file as it is and as a server sends it.
pub(crate) fn sizes(file: &Path) -> Result<(usize, usize)> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.is_empty() {
        bail!("{} is empty", file.display());
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes).context("cannot compress")?;
    Ok((bytes.len(), gzip.finish().context("cannot compress")?.len()))
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod site_tests {
    use super::{MODULES, grouped};

    #[test]
    fn groups_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_module_above_its_limit_is_refused() {
        let [_, grammar, _] = MODULES;
        assert!(grammar.check_size(500_000).is_ok());
        let refusal = grammar.check_size(500_001).unwrap_err().to_string();
        assert_eq!(refusal, "module grammar: 500,001 bytes gzip, 500,000 wanted at most");
    }
}
