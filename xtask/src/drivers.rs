//! Where the Vulkan drivers and Chromium are. Each driver gets its own run of the GPU tests.

use crate::shell;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One GPU driver to run the tests on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Driver {
    /// What the summary calls it.
    pub(crate) name: String,
    /// Its Vulkan manifest; none means whatever the system offers first (Metal, DX12).
    icd: Option<PathBuf>,
    /// For `TRICE_DEVICE`: an index or part of the adapter's name.
    device: &'static str,
}

impl Driver {
    /// The system's own choice, where drivers cannot be picked by file.
    fn system() -> Self {
        Self { name: "system GPU".into(), icd: None, device: "0" }
    }

    fn new(icd: PathBuf) -> Self {
        let file = icd.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, device) = match file.split("_icd").next().unwrap_or_default() {
            "lvp" => ("llvmpipe", "llvmpipe"),
            "vk_swiftshader" => ("swiftshader", "SwiftShader"),
            other => (other, "0"),
        };
        Self { name: name.into(), icd: Some(icd.clone()), device }
    }

    /// Makes `command` see this driver and no other, and fail where it is missing.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Some(icd) = &self.icd {
            // Newer loaders read the first, older ones the second.
            command.env("VK_DRIVER_FILES", icd).env("VK_ICD_FILENAMES", icd);
        }
        command.env("TRICE_DEVICE", self.device).env("REQUIRE_GPU", "1");
        if env::var_os("XDG_RUNTIME_DIR").is_none() {
            // Without it, Mesa's window system side complains on every device that is opened.
            command.env("XDG_RUNTIME_DIR", env::temp_dir());
        }
    }

    /// Whether it drives anything on this machine, judged by `trice devices`.
    fn has_adapter(&self, trice: &Path) -> bool {
        let mut command = Command::new(trice);
        self.apply(&mut command);
        let listed = shell::output(command.env_remove("TRICE_DEVICE").args(["devices", "--json"]));
        listed.is_some_and(|listed| listed.contains("\"backend\""))
    }
}

/// The drivers to test on. llvmpipe comes first, then SwiftShader; a driver for hardware is tested on where the machine
/// has such hardware. `trice` is the program that lists adapters.
pub(crate) fn to_test(trice: &Path) -> Vec<Driver> {
    if !cfg!(target_os = "linux") {
        return vec![Driver::system()];
    }
    let (software, hardware): (Vec<Driver>, Vec<Driver>) =
        icd_files().into_iter().chain(swiftshader_icd()).map(Driver::new).partition(|driver| driver.device != "0");
    let present = hardware.into_iter().filter(|driver| driver.has_adapter(trice));
    software.into_iter().chain(present).collect()
}

/// Whether the CPU driver from Mesa is installed, and the loader that finds it.
pub(crate) fn has_llvmpipe() -> bool {
    let loader = ["/usr/lib", "/usr/lib64", "/lib", "/usr/local/lib"].iter().any(|folder| {
        let folder = Path::new(folder);
        folder.join("libvulkan.so.1").exists() || multiarch(folder).join("libvulkan.so.1").exists()
    });
    loader && icd_files().into_iter().any(|icd| Driver::new(icd).name == "llvmpipe")
}

/// Debian keeps libraries in a folder per architecture.
fn multiarch(folder: &Path) -> PathBuf {
    folder.join(format!("{}-linux-gnu", env::consts::ARCH))
}

/// The manifests of the installed Vulkan drivers, those for other architectures left out.
pub(crate) fn icd_files() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/etc", "/usr/local/share", "/usr/share"].map(PathBuf::from).into();
    folders.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    let files = folders.iter().filter_map(|folder| folder.join("vulkan/icd.d").read_dir().ok()).flatten();
    let mut files: Vec<PathBuf> = files.filter_map(|entry| Some(entry.ok()?.path())).filter(|f| is_for_us(f)).collect();
    files.sort();
    files
}

/// `lvp_icd.json` and `lvp_icd.x86_64.json` are for a 64-bit PC, `lvp_icd.i686.json` is not.
fn is_for_us(icd: &Path) -> bool {
    let name = icd.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(stem) = name.strip_suffix(".json") else { return false };
    stem.split_once('.').is_none_or(|(_, arch)| arch == env::consts::ARCH)
}

/// The SwiftShader that comes with Chromium.
pub(crate) fn swiftshader_icd() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = [
        "/usr/lib/chromium",
        "/usr/lib64/chromium-browser",
        "/usr/lib/chromium-browser",
        "/opt/google/chrome",
        "/snap/chromium/current/usr/lib/chromium-browser",
    ]
    .map(PathBuf::from)
    .into();
    let program = chromium().and_then(|program| program.canonicalize().ok());
    folders.extend(program.and_then(|program| program.parent().map(Path::to_path_buf)));
    folders.into_iter().map(|folder| folder.join("vk_swiftshader_icd.json")).find(|icd| icd.is_file())
}

/// The browser to test in: what TRICE_CHROMIUM names, or what is installed.
pub(crate) fn chromium() -> Option<PathBuf> {
    if let Some(named) = env::var_os("TRICE_CHROMIUM") {
        return Some(PathBuf::from(named)).filter(|program| program.is_file());
    }
    let on_path = shell::find_program(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]);
    let installed = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    ];
    on_path.or_else(|| installed.iter().map(PathBuf::from).find(|program| program.is_file()))
}

#[cfg(test)]
mod driver_tests {
    use super::*;

    #[test]
    fn manifests_of_other_architectures_are_left_out() {
        let ours = format!("lvp_icd.{}.json", env::consts::ARCH);
        assert!(is_for_us(Path::new(&ours)) && is_for_us(Path::new("lvp_icd.json")));
        assert!(!is_for_us(Path::new("lvp_icd.pdp11.json")) && !is_for_us(Path::new("README")));
    }

    #[test]
    fn software_drivers_are_named_and_held_to_their_adapter() {
        let driver = Driver::new(PathBuf::from("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"));
        assert_eq!((driver.name.as_str(), driver.device), ("llvmpipe", "llvmpipe"));
        let driver = Driver::new(PathBuf::from("/usr/lib/chromium/vk_swiftshader_icd.json"));
        assert_eq!((driver.name.as_str(), driver.device), ("swiftshader", "SwiftShader"));
        let driver = Driver::new(PathBuf::from("radeon_icd.x86_64.json"));
        assert_eq!((driver.name.as_str(), driver.device), ("radeon", "0"));
    }
}
