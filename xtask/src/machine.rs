//! What the machine must have: each thing is looked for first, installed where we know how, and named where we do not.

use crate::shell;
use crate::{drivers, page_tests};
use anyhow::{Context, Result, bail};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether system packages may be installed without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Ask first.
    Ask,
    /// `--yes` or CI=true: do not ask.
    Given,
}

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Something from outside Rust.
pub(crate) struct Need {
    /// What it is, as a noun.
    what: &'static str,
    /// What we need it for.
    why: &'static str,
    /// Whether the machine has it.
    is_there: fn() -> bool,
    /// Its packages on Debian and its descendants.
    debian: &'static [&'static str],
    /// How to get it on other systems.
    elsewhere: &'static str,
}

const VULKAN: Need = Need {
    what: "a Vulkan driver that runs on the CPU (llvmpipe)",
    why: "GPU tests run on it even where there is no GPU",
    is_there: drivers::has_llvmpipe,
    debian: &["mesa-vulkan-drivers", "libvulkan1"],
    elsewhere: "mesa-vulkan-drivers on Fedora, vulkan-swrast on Arch, libvulkan_lvp on openSUSE",
};

pub(crate) const CHROMIUM: Need = Need {
    what: "Chromium",
    why: "the page is tested in it, and its SwiftShader is the second Vulkan driver of the tests",
    is_there: || drivers::chromium().is_some(),
    debian: &["chromium"],
    elsewhere: "the package `chromium` or Google Chrome; set TRICE_CHROMIUM to its program if it is not on PATH",
};

pub(crate) const NODE: Need = Need {
    what: "Node.js 18 or newer with npm",
    why: "the page's tests are written for it (the page itself does not need it)",
    is_there: || page_tests::node_is_new_enough() && shell::find_program(&["npm", "npm.cmd"]).is_some(),
    debian: &["nodejs", "npm"],
    elsewhere: "the packages `nodejs` and `npm` (`brew install node`, `winget install OpenJS.NodeJS`)",
};

/// For the shim that puts Chromium on llvmpipe.
pub(crate) const VULKAN_HEADERS: Need = Need {
    what: "a C compiler and the Vulkan headers",
    why: "a small library between Chromium and llvmpipe is compiled",
    is_there: || shell::find_program(&["cc"]).is_some() && Path::new("/usr/include/vulkan/vulkan.h").is_file(),
    debian: &["gcc", "libc6-dev", "libvulkan-dev"],
    elsewhere: "gcc and vulkan-headers on Fedora and Arch",
};

/// Adds the WebAssembly target to the Rust toolchain.
pub(crate) fn ensure_wasm_target() -> Result<()> {
    let folder = shell::output(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM_TARGET]));
    if folder.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Ok(());
    }
    if shell::find_program(&["rustup"]).is_none() {
        bail!(
            "this Rust has no {WASM_TARGET} target, and there is no rustup to add it: install that target's `rust-std`"
        );
    }
    shell::run(
        Command::new("rustup").args(["target", "add", WASM_TARGET]),
        "the page runs the same Rust code as WebAssembly: adding that target to the toolchain",
    )
}

/// Everything that `cargo xtask test` needs beyond Rust.
pub(crate) fn ensure_test_programs(consent: Consent) -> Result<()> {
    ensure(if cfg!(target_os = "linux") { &[VULKAN, CHROMIUM, NODE] } else { &[CHROMIUM, NODE] }, consent)
}

/// Installs what is missing of `needs`.
pub(crate) fn ensure(needs: &[Need], consent: Consent) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        println!("   {}: there", needs.iter().map(|need| need.what).collect::<Vec<_>>().join(", "));
        return Ok(());
    }
    for need in &missing {
        println!("-> missing: {}: {}", need.what, need.why);
    }
    if shell::find_program(&["apt-get"]).is_none() {
        let how: Vec<String> = missing.iter().map(|need| format!("{}: {}", need.what, need.elsewhere)).collect();
        bail!("please install what is missing, then run this again:\n  {}", how.join("\n  "));
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.debian).copied().collect();
    install_debian(&packages, consent)?;
    match missing.iter().find(|need| !(need.is_there)()) {
        Some(need) => {
            bail!("{} is still missing after installing {}: {}", need.what, need.debian.join(", "), need.elsewhere)
        }
        None => Ok(()),
    }
}

/// Says so when native commands will find no GPU. The page does not mind: a browser brings its own drivers.
pub(crate) fn note_missing_vulkan() {
    if cfg!(target_os = "linux") && drivers::icd_files().is_empty() {
        println!(
            "   note: no Vulkan driver found. The page works without one (the browser has its own); `trice chat` in"
        );
        println!("   a terminal needs one: {} on Debian or Ubuntu, {}", VULKAN.debian[0], VULKAN.elsewhere);
    }
}

/// `apt-get install`, as root or through sudo.
fn install_debian(packages: &[&str], consent: Consent) -> Result<()> {
    let is_root = shell::output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    let typed = format!("{}apt-get install {}", if is_root { "" } else { "sudo " }, packages.join(" "));
    if !is_root {
        if shell::find_program(&["sudo"]).is_none() {
            bail!("no sudo here: as root, run `apt-get install {}`, then this again", packages.join(" "));
        }
        if consent == Consent::Ask && !ask(&format!("Run `{typed}`?"))? {
            bail!("nothing installed: run `{typed}` yourself, then this again");
        }
    }
    let apt = |arguments: &[&str]| {
        let mut command = if is_root { Command::new("env") } else { Command::new("sudo") };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"]).args(arguments);
        command
    };
    shell::run(&mut apt(&["update"]), "fetching the list of packages")?;
    // Hundreds of lines about packages that nobody asked for by name; errors come on the other stream.
    let mut install = apt(&["install", "--no-install-recommends"]);
    shell::run(install.args(packages).stdout(Stdio::null()), "installing what is missing: this takes some minutes")
}

/// Asks on the terminal; `Enter` means yes. Without a terminal there is nobody to ask.
fn ask(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{question} There is no terminal to ask on: run this again with --yes");
    }
    print!("{question} [Y/n] ");
    std::io::stdout().flush().context("cannot write to the terminal")?;
    let mut answer = String::new();
    let n_bytes = std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(n_bytes > 0 && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}
