//! The levels of the crate, held by reading its source: a file imports only what is below it, and what belongs in one
//! place stands nowhere else.

use std::path::{Path, PathBuf};

/// Modules from the bottom up; those of one level know nothing of each other. The types of the cache and of sampling that
/// surfaces need are passed on by `session` and `tasks`.
const LEVELS: &[&[&str]] = &[
    &["error"],
    // Tables of texts: bytes and columns, no models.
    &["source", "rows"],
    // Which files a model has; `format` reads them.
    &["hub"],
    &["format"],
    // Tokens and prompts come from a file, as weights do. Sampling parameters are words, not kernels.
    &["text", "gpu"],
    &["kernels"],
    &["model"],
    &["session"],
    // Tasks share the session's words for loading.
    &["tasks"],
    &["measure", "export"],
    &["cli", "server", "web", "main"],
];

/// The program's parts are one level: `serve` is a command of the command line.
const SURFACES: &[&str] = LEVELS[LEVELS.len() - 1];

/// A source file: its path under `src`, its module, its lines without comments.
struct File {
    path: String,
    module: String,
    lines: Vec<String>,
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn source() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&root, &mut paths);
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let module = path.split(['/', '.']).next().unwrap().to_owned();
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        File { path, module, lines: join_lists(text.lines().map(code)) }
    };
    paths.iter().map(read).collect()
}

/// An import whose list goes on over several lines stands in its first one; the others stay, empty, so that numbers hold.
fn join_lists(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut open: Option<usize> = None;
    for line in lines {
        let is_import = line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        let is_open = !line.contains(';');
        match open {
            Some(first) => {
                joined[first].push_str(&line);
                joined.push(String::new());
                open = is_open.then_some(first);
            }
            None => {
                open = (is_import && is_open).then_some(joined.len());
                joined.push(line);
            }
        }
    }
    joined
}

#[test]
fn imports_over_several_lines_are_read() {
    let lines = ["use crate::{", "    gpu::Gpu,", "    session::Session,", "};", "let x = 1;"].map(str::to_owned);
    let joined = join_lists(lines.into_iter());
    assert_eq!(joined.len(), 5);
    assert_eq!(imports(&joined[0]).collect::<Vec<_>>(), ["gpu", "session", ""]);
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// What follows `crate::` (and, in the program, `trice::`) in a line: the modules it names.
fn imports(line: &str) -> impl Iterator<Item = String> {
    let names = ["crate::", "trice::"].into_iter().flat_map(|start| line.split(start).skip(1));
    names.flat_map(|rest| {
        let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let is_list = rest.starts_with('{');
        let names = names.split(',').take(if is_list { usize::MAX } else { 1 });
        names.map(|name| name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned())
    })
}

#[test]
fn a_file_imports_only_what_is_below_it() {
    let mut wrong = Vec::new();
    let mut n_imports = 0;
    for file in source().iter().filter(|file| file.module != "lib") {
        let Some(own) = level(&file.module) else {
            wrong.push(format!("{}: module {} stands in no level", file.path, file.module));
            continue;
        };
        for (i, line) in file.lines.iter().enumerate() {
            for module in imports(line) {
                // Types that the crate's root passes on are `error`'s; macros and functions of a module are its own.
                let Some(other) = level(&module) else { continue };
                let is_own = module == file.module;
                let is_surface = SURFACES.contains(&module.as_str()) && SURFACES.contains(&file.module.as_str());
                n_imports += 1;
                if other >= own && !is_own && !is_surface {
                    wrong.push(format!(
                        "{}:{}: {} imports {module}, which is not below it",
                        file.path,
                        i + 1,
                        file.module
                    ));
                }
            }
        }
    }
    assert!(n_imports > 100, "only {n_imports} imports found: the test reads nothing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of code that hold `word`, outside files that `may` hold it.
fn strays(word: &str, may: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut n_allowed = 0;
    for file in source() {
        let lines = file.lines.iter().enumerate().filter(|(_, line)| line.contains(word));
        for (i, line) in lines {
            if may(&file.path) {
                n_allowed += 1;
            } else {
                found.push(format!("{}:{}: {}", file.path, i + 1, line.trim()));
            }
        }
    }
    println!("{word}: {n_allowed} lines where it may stand");
    found
}

#[test]
fn the_gpu_library_is_named_in_one_folder() {
    let strays = strays("wgpu", |path| path.starts_with("gpu/"));
    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

#[test]
fn platforms_differ_in_few_files() {
    let may = |path: &str| {
        path.starts_with("source") || path.starts_with("hub") || ["gpu/mod.rs", "web.rs", "lib.rs"].contains(&path)
    };
    let strays = strays("target_arch", may);
    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

/// Two calls are: wgpu's modules without bounds checks, whose indices the host has checked, and its pipeline cache, whose
/// bytes a checksum has.
#[test]
fn nothing_else_is_unsafe_and_nothing_lifts_the_ban() {
    const MAY: [&str; 2] = ["gpu/kept.rs", "gpu/program.rs"];
    for word in ["unsafe ", "unsafe{", "allow(unsafe_code", "expect(unsafe_code"] {
        let strays = strays(word, |path| MAY.contains(&path));
        assert!(strays.is_empty(), "{}", strays.join("\n"));
    }
    // One call in each, and no more beside it.
    let mut calls = strays("unsafe ", |_| false);
    calls.sort();
    assert_eq!(calls.len(), MAY.len(), "{}", calls.join("\n"));
    assert!(calls.iter().zip(MAY).all(|(call, path)| call.starts_with(path)), "{}", calls.join("\n"));
}
