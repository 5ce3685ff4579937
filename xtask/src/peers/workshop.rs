//! Where the peers work, `target/peers`: their harnesses with packages, the models in every format, a Chromium on llvmpipe.
//! Each thing is made when it is first asked for and kept; one that cannot be made says so once, and the rest goes on.

use super::contest::{Browser, Model};
use crate::machine::{self, Consent};
use crate::{drivers, page_tests, shell, site};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The driver's name is written into the shim.
const LAVAPIPE: &str = "/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so";

pub(super) struct Workshop {
    /// `target/peers`, absolute.
    folder: PathBuf,
    /// What TRICE_SHARED names, absolute: the harnesses and the reference models.
    shared: PathBuf,
    trice: PathBuf,
    consent: Consent,
    /// What was asked for so far: the thing, or why it cannot be had.
    made: BTreeMap<String, Result<PathBuf, String>>,
}

impl Workshop {
    pub(super) fn new(trice: PathBuf, consent: Consent) -> Result<Self> {
        let shared = env::var_os("TRICE_SHARED").map_or(PathBuf::from("../shared"), PathBuf::from);
        let folder = shell::target_dir()?.join("peers");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder, shared: shell::absolute(&shared)?, trice, consent, made: BTreeMap::new() })
    }

    pub(super) fn trice(&self) -> &Path {
        &self.trice
    }

    /// The file or folder that Trice, llama.cpp and wllama read.
    pub(super) fn model(&mut self, model: &Model) -> Result<PathBuf, String> {
        match *model {
            Model::Llama { shape, quant } => self.gguf(shape, quant),
            Model::MiniLm => self.shared("models/all-MiniLM-L6-v2"),
        }
    }

    /// The same for transformers.js.
    pub(super) fn onnx(&mut self, model: &Model) -> Result<PathBuf, String> {
        match *model {
            Model::Llama { shape, quant } => self.llama_onnx(shape, quant),
            Model::MiniLm => self.minilm_onnx(),
        }
    }

    pub(super) fn browser(&mut self, browser: Browser) -> Result<PathBuf, String> {
        match browser {
            Browser::Stock => self.chromium(),
            Browser::Lavapipe => self.lavapipe(),
        }
    }

    pub(super) fn chromium(&mut self) -> Result<PathBuf, String> {
        self.once("Chromium", |workshop| {
            machine::ensure(&[machine::CHROMIUM], workshop.consent)?;
            drivers::chromium().context("no Chromium found")
        })
    }

    /// Trice's page.
    pub(super) fn site(&mut self) -> Result<PathBuf, String> {
        self.once("Trice's page", |_| {
            machine::ensure_wasm_target()?;
            shell::absolute(&site::build_site(site::Profile::Web)?)
        })
    }

    /// The script that measures Trice's page.
    pub(super) fn page_bench(&mut self) -> Result<PathBuf, String> {
        self.once("the harness of Trice's page", |workshop| {
            workshop.node()?;
            page_tests::install_packages()?;
            shell::absolute(Path::new("tests/web/bench.mjs"))
        })
    }

    pub(super) fn native_harness(&mut self) -> Result<PathBuf, String> {
        self.once("llama.cpp", |workshop| workshop.harness("native"))
    }

    pub(super) fn browser_harness(&mut self) -> Result<PathBuf, String> {
        self.once("wllama and transformers.js", |workshop| workshop.harness("browser"))
    }

    /// What `make` gave when `what` was first asked for; a failure is announced then, and returned ever after.
    fn once(&mut self, what: &str, make: impl FnOnce(&mut Self) -> Result<PathBuf>) -> Result<PathBuf, String> {
        if let Some(made) = self.made.get(what) {
            return made.clone();
        }
        let made = make(self).map_err(|error| {
            eprintln!("!! LEFT OUT: {what}: {error:#}");
            format!("{what} is not here: {error:#}")
        });
        self.made.insert(what.into(), made.clone());
        made
    }

    fn shared(&mut self, name: &str) -> Result<PathBuf, String> {
        let path = self.shared.join(name);
        self.once(name, |_| if path.exists() { Ok(path) } else { bail!("no {} (set TRICE_SHARED)", path.display()) })
    }

    fn node(&mut self) -> Result<()> {
        let node = self.once("Node.js", |workshop| {
            machine::ensure(&[machine::NODE], workshop.consent)?;
            Ok(PathBuf::from("node"))
        });
        node.map(|_| ()).map_err(|reason| anyhow!(reason))
    }

    /// A copy of a harness's folder with its npm packages; returns its script.
    fn harness(&mut self, name: &str) -> Result<PathBuf> {
        let original = self.shared(&format!("peers/{name}")).map_err(|reason| anyhow!(reason))?;
        self.node()?;
        let folder = self.folder.join(name);
        copy_changed(&original, &folder)?;
        if !page_tests::has_packages(&folder, "package.json") {
            let mut npm = page_tests::npm();
            npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
            shell::run(&mut npm, &format!("the peers come from npm: installing them into {}", folder.display()))?;
        }
        Ok(folder.join("bench.mjs"))
    }

    /// A Python with `packages`, in an environment of the workshop's own.
    fn python(&mut self, packages: &[&str]) -> Result<PathBuf> {
        let venv = self.folder.join("venv");
        let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        if !python.is_file() {
            let program = shell::find_program(&["python3", "python"]).context("no Python found")?;
            let mut command = Command::new(program);
            shell::run(
                command.args(["-m", "venv"]).arg(&venv),
                "the models are made in Python: an environment for it",
            )?;
        }
        let mut import = Command::new(&python);
        import.args(["-c", &format!("import {}", packages.join(", "))]).stdin(Stdio::null()).stderr(Stdio::null());
        if !import.status().is_ok_and(|status| status.success()) {
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet"]).args(packages);
            shell::run(&mut install, &format!("installing {}", packages.join(", ")))?;
        }
        Ok(python)
    }

    fn gguf(&mut self, shape: &str, quant: &str) -> Result<PathBuf, String> {
        let script = self.shared("peers/make_models.py")?;
        let file = self.folder.join("models").join(format!("llama-{shape}.{quant}.gguf"));
        self.once(&format!("the model {shape} {quant}"), |workshop| {
            workshop.make(&file, |workshop, aside| {
                let mut make = Command::new(workshop.python(&["gguf", "numpy"])?);
                make.arg(script).arg(parent(aside)?).args(["--shape", shape, "--type", quant]);
                shell::run(&mut make, &format!("random weights at the shape of a {shape} model, in {quant}"))
            })
        })
    }

    /// The same weights as a GGUF file's, in the layout of transformers.js.
    fn llama_onnx(&mut self, shape: &str, quant: &str) -> Result<PathBuf, String> {
        let gguf = self.gguf(shape, quant)?;
        let folder = self.folder.join("onnx").join(format!("llama-{shape}.{quant}"));
        self.once(&format!("the model {shape} {quant} as ONNX"), |workshop| {
            workshop.make(&folder, |workshop, aside| {
                let mut make = Command::new(workshop.python(&["gguf", "numpy", "onnx"])?);
                make.arg("tests/peers/llama_onnx.py").arg(gguf).arg(aside);
                shell::run(&mut make, "the same blocks as ONNX, for transformers.js")
            })
        })
    }

    fn minilm_onnx(&mut self) -> Result<PathBuf, String> {
        let script = self.shared("peers/browser/export_bert.py")?;
        let folder = self.folder.join("onnx/minilm");
        self.once("MiniLM as ONNX", |workshop| {
            workshop.make(&folder, |workshop, aside| {
                println!("   note: PyTorch is large; with it {} takes several GB", workshop.folder.display());
                let packages = ["torch", "transformers", "onnx", "onnxruntime", "onnxscript", "numpy"];
                let mut make = Command::new(workshop.python(&packages)?);
                shell::run(make.arg(script).arg(parent(aside)?), "MiniLM as ONNX, for transformers.js")
            })
        })
    }

    /// A copy of Chromium whose SwiftShader is a shim over Mesa's llvmpipe: 16-bit floats, and four times the speed.
    fn lavapipe(&mut self) -> Result<PathBuf, String> {
        let shim = self.shared("peers/browser/lavapipe/shim.c")?;
        let copy = self.folder.join("chromium");
        self.chromium()?;
        self.once("a Chromium on llvmpipe", |workshop| {
            if !Path::new(LAVAPIPE).is_file() {
                bail!("the shim is written for {LAVAPIPE}, which is not there");
            }
            machine::ensure(&[machine::VULKAN_HEADERS], workshop.consent)?;
            let icd = drivers::swiftshader_icd().context("this Chromium brings no SwiftShader")?;
            let installed = parent(&icd)?.to_path_buf();
            let names = ["chromium", "chrome", "chromium-browser"];
            let name = names.into_iter().find(|name| installed.join(name).is_file());
            let name = name.with_context(|| format!("no browser in {}", installed.display()))?;
            if modified(&copy.join(name)) != modified(&installed.join(name)) {
                remove(&copy)?;
            }
            workshop.make(&copy, |_, aside| put_on_lavapipe(&installed, &shim, aside))?;
            Ok(copy.join(name))
        })
    }

    /// Makes `target`, a file or a folder, unless it is there: under the same name in a folder aside and moved when it is
    /// whole, so that what an interrupted run left is never taken for it.
    fn make(&mut self, target: &Path, make: impl FnOnce(&mut Self, &Path) -> Result<()>) -> Result<PathBuf> {
        if target.exists() {
            return Ok(target.into());
        }
        let aside = self.folder.join("making");
        remove(&aside)?;
        for folder in [&aside, parent(target)?] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let unfinished = aside.join(target.file_name().context("a target without a name")?);
        make(self, &unfinished)?;
        fs::rename(&unfinished, target)
            .with_context(|| format!("cannot move {} to its place", unfinished.display()))?;
        Ok(target.into())
    }
}

/// Copies the browser in `installed` and puts the shim in the place of its SwiftShader, which stays what it was for OpenGL.
fn put_on_lavapipe(installed: &Path, shim: &Path, copy: &Path) -> Result<()> {
    // Links cost no space, but only one file system has them.
    let cp = |how: &str| {
        let mut cp = Command::new("cp");
        cp.arg(how).arg(installed).arg(copy);
        cp
    };
    if shell::run(&mut cp("-al"), "Chromium on llvmpipe: a copy of it made of links").is_err() {
        remove(copy)?;
        shell::run(&mut cp("-a"), "on another file system: a real copy")?;
    }
    let (library, icd) = ("libvk_swiftshader.so", "vk_swiftshader_icd.json");
    // Removed first: writing to a link would change the installed browser.
    remove(&copy.join(library))?;
    remove(&copy.join(icd))?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(copy.join(library)).arg(shim).arg("-ldl");
    shell::run(&mut cc, "its SwiftShader becomes a shim over llvmpipe")?;
    let text = fs::read_to_string(installed.join(icd)).with_context(|| format!("cannot read {icd}"))?;
    let original = installed.join(library).display().to_string();
    let text = text.replace(&format!("./{library}"), &original);
    fs::write(copy.join(icd), text).with_context(|| format!("cannot write {icd}"))
}

/// Copies what differs, so that unchanged files keep their time. Only the bytes: the originals may be read-only.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", from.display()))?.path();
        let copy = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_changed(&path, &copy)?;
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if fs::read(&copy).ok().as_ref() != Some(&bytes) {
            fs::write(&copy, bytes).with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    Ok(())
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent().with_context(|| format!("{} stands in no folder", path.display()))
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|file| file.modified()).ok()
}

/// Removes a file or a folder, where there is one.
fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod workshop_tests {
    use super::*;

    fn workshop(name: &str) -> Workshop {
        let folder = env::temp_dir().join(format!("trice-workshop-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let shared = folder.join("shared");
        Workshop { folder, shared, trice: PathBuf::new(), consent: Consent::Ask, made: BTreeMap::new() }
    }

    #[test]
    fn a_thing_is_asked_for_once() {
        let mut workshop = workshop("once");
        let failed = workshop.once("it", |_| bail!("no network"));
        assert_eq!(failed, Err("it is not here: no network".into()));
        assert_eq!(workshop.once("it", |_| panic!("asked twice")), failed);
        fs::remove_dir_all(&workshop.folder).unwrap();
    }

    #[test]
    fn half_a_file_is_never_taken_for_the_whole() {
        let mut workshop = workshop("make");
        let target = workshop.folder.join("models/a.gguf");
        let interrupted = workshop.make(&target, |_, aside| {
            fs::write(aside, "half")?;
            bail!("interrupted")
        });
        assert!(interrupted.is_err() && !target.exists());
        workshop.make(&target, |_, aside| Ok(fs::write(aside, "whole")?)).unwrap();
        workshop.make(&target, |_, _| panic!("made twice")).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        fs::remove_dir_all(&workshop.folder).unwrap();
    }

    #[test]
    fn only_what_differs_is_copied() {
        let workshop = workshop("copy");
        let (from, to) = (workshop.folder.join("from"), workshop.folder.join("to"));
        fs::create_dir_all(from.join("pages")).unwrap();
        fs::write(from.join("pages/a.js"), "new").unwrap();
        copy_changed(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("pages/a.js")).unwrap(), "new");
        let before = modified(&to.join("pages/a.js"));
        copy_changed(&from, &to).unwrap();
        assert_eq!(modified(&to.join("pages/a.js")), before);
        fs::remove_dir_all(&workshop.folder).unwrap();
    }
}
