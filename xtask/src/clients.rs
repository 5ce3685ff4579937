//! OpenAI's own clients, for the tests of the server.

use crate::{page_tests, shell};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "tests/clients";

/// Installs the clients for Node and, where there is a Python with venv, for Python. Tests that find none say that they skip.
pub(crate) fn install() -> Result<()> {
    page_tests::npm_ci(FOLDER, "the server's tests use OpenAI's client for Node")?;
    let venv = shell::target_dir()?.join("clients/venv");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let requirements = Path::new(FOLDER).join("requirements.txt");
    if shell::output(Command::new(&python).args(["-c", "import openai"])).is_some() {
        return Ok(());
    }
    let made = shell::output(Command::new("python3").args(["-m", "venv"]).arg(&venv)).is_some();
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements);
    let why = format!("the server's tests use OpenAI's client for Python: installing it into {}", venv.display());
    if !made || shell::run(&mut pip, &why).is_err() {
        println!("   note: no python3 with venv and pip, so the server is not tested with OpenAI's client for Python");
    }
    Ok(())
}
