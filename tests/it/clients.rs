//! The official clients of OpenAI against our server: scripts of their own in `tests/clients`, run where what they need is there.

use crate::program::{Server, has_gpu};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the scripts expect of a server.
const SERVE: [&str; 6] = ["--ctx", "128", "--parallel", "2", "--api-key", "secret"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Python that has the client: `TRICE_PYTHON`, the one that `cargo xtask test` sets up, or the system's.
fn python() -> Option<Command> {
    let named = std::env::var_os("TRICE_PYTHON").map(PathBuf::from);
    let candidates = [root().join("target/clients/venv/bin/python"), PathBuf::from("python3")];
    let has_client = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", "import openai"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let found = named.into_iter().chain(candidates).find(has_client);
    if found.is_none() {
        println!("skipped: no Python with tests/clients/requirements.txt");
    }
    found.map(|python| {
        let mut command = Command::new(python);
        command.arg(root().join("tests/clients/ask.py"));
        command
    })
}

/// Node with the client.
fn node() -> Option<Command> {
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node || !root().join("tests/clients/node_modules/openai").is_dir() {
        println!("skipped: no Node.js, or no `npm ci --prefix tests/clients`");
        return None;
    }
    let mut command = Command::new("node");
    command.arg(root().join("tests/clients/ask.mjs"));
    Some(command)
}

/// Runs a script; it says what it has checked.
fn ask(mut script: Command, server: &Server, args: &[&str]) -> Vec<String> {
    let output = script.arg(format!("http://{}", server.address)).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    said.lines().map(str::to_owned).collect()
}

fn check(script: impl Fn() -> Option<Command>, wanted: &[&str]) {
    if !has_gpu() {
        return;
    }
    let (Some(loaded), Some(bare)) = (script(), script()) else { return };
    let checked = ask(loaded, &Server::start(&SERVE).ready(), &["secret"]);
    let checked: Vec<&str> = checked.iter().filter_map(|line| line.split_once(' ')).map(|(_, name)| name).collect();
    assert_eq!(checked, wanted);
    let mut empty = Server::start(&["--device", "no such device"]);
    empty.wait_for_log("the API has no model");
    assert_eq!(ask(bare, &empty, &["none", "unavailable"]).len(), 1);
}

#[test]
fn gpu_python_understands_every_answer() {
    check(python, &["chat", "stream", "completion", "tools", "schema", "embeddings", "models", "errors"]);
}

#[test]
fn gpu_node_understands_every_answer() {
    check(node, &["chat", "stream", "tools", "schema", "embeddings", "models", "errors"]);
}
