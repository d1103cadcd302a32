//! Vulkan drivers that run on the CPU: the installed lavapipe, and others unpacked under target/drivers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{self, Release};
use crate::shell::{self, Result, note};

/// A Vulkan driver that the tests can be run on.
pub struct Driver {
    pub name: &'static str,
    /// Text that identifies it in the output of `shadetell devices`.
    pub mark: &'static str,
    /// The ICD file, which gives the Vulkan loader the path of the library.
    pub icd: PathBuf,
}

impl Driver {
    /// Makes a command use only this driver.
    pub fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        // The loader reads VK_DRIVER_FILES; older loaders read VK_ICD_FILENAMES.
        // Without WGPU_BACKEND the tests might use OpenGL if the driver does not load.
        let icd = &self.icd;
        command.env("VK_DRIVER_FILES", icd).env("VK_ICD_FILENAMES", icd).env("WGPU_BACKEND", "vulkan")
    }
}

/// Mesa's installed software driver.
pub fn lavapipe() -> Result<Driver> {
    Ok(Driver { name: "lavapipe", mark: "llvmpipe", icd: setup::lavapipe()? })
}

/// The folders of the ICD files of installed Vulkan drivers.
const ICD_FOLDERS: [&str; 4] = [
    "/usr/local/share/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/run/opengl-driver/share/vulkan/icd.d",
];

/// The ICD file of the installed lavapipe for this processor.
pub fn lavapipe_icd() -> Option<PathBuf> {
    let names = ["lvp_icd.json".to_string(), format!("lvp_icd.{}.json", std::env::consts::ARCH)];
    let paths =
        ICD_FOLDERS.iter().flat_map(|folder| names.iter().map(move |name| Path::new(folder).join(name)));
    paths.into_iter().find(|path| path.exists())
}

/// A driver that is unpacked from a Debian package without installing it.
struct Unpacked {
    name: &'static str,
    /// The packages that may contain it, as arguments of `apt-get download`; the first that contains it is used.
    packages: &'static [&'static str],
    library: &'static str,
}

const SWIFTSHADER: Unpacked = Unpacked {
    name: "swiftshader",
    packages: &["chromium-common", "chromium"],
    library: "libvk_swiftshader.so",
};

const MESA22: Unpacked =
    Unpacked { name: "mesa22", packages: &["mesa-vulkan-drivers/bookworm"], library: "libvulkan_lvp.so" };

/// The folders in which an installed Chromium or Chrome has SwiftShader.
const SWIFTSHADER_FOLDERS: [&str; 6] = [
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/usr/lib64/chromium",
    "/usr/lib/chromium-browser",
    "/snap/chromium/current/usr/lib/chromium-browser",
    "/opt/google/chrome",
];

/// Google's software driver: from an installed Chromium, or else unpacked from its package.
pub fn swiftshader(drivers: &Path) -> Result<Driver> {
    let advice = || Release::of_this_machine().swiftshader_advice();
    let mut installed = SWIFTSHADER_FOLDERS.iter().map(|folder| Path::new(folder).join(SWIFTSHADER.library));
    let library = match installed.find(|library| library.exists()) {
        Some(library) => library,
        None if has_apt() => {
            SWIFTSHADER.unpack(drivers).map_err(|problem| format!("{problem}\n{}", advice()))?
        }
        None => return Err(advice()),
    };
    let icd = SWIFTSHADER.describe(drivers, &library)?;
    Ok(Driver { name: "SwiftShader", mark: "SwiftShader", icd })
}

/// The lavapipe of Debian 12, in addition to the installed one.
pub fn mesa22(drivers: &Path) -> Result<Driver> {
    if Release::of_this_machine().debian() != Some("bookworm") {
        return Err(
            "--mesa22 takes Mesa 22 from Debian 12's packages, and this is not Debian 12: leave it out"
                .into(),
        );
    }
    let library = MESA22.unpack(drivers)?;
    let needs = shell::output(Command::new("ldd").arg(&library)).unwrap_or_default();
    let missing: Vec<&str> =
        needs.lines().filter(|line| line.ends_with("not found")).map(str::trim).collect();
    if !missing.is_empty() {
        return Err(format!(
            "Mesa 22 needs libraries that are not installed ({}): run `apt-get install libllvm15` as root",
            missing.join(", ")
        ));
    }
    Ok(Driver { name: "Mesa 22", mark: "Mesa 22", icd: MESA22.describe(drivers, &library)? })
}

/// Whether this machine uses apt.
pub fn has_apt() -> bool {
    shell::output(Command::new("apt-get").arg("--version")).is_some()
}

impl Unpacked {
    /// Downloads and unpacks the driver unless that was done before; returns the path of its library.
    fn unpack(&self, drivers: &Path) -> Result<PathBuf> {
        let library = drivers.join(self.name).join(self.library);
        if !library.exists() {
            let scratch = drivers.join(format!("{}.partial", self.name));
            let unpacked = self.fetch(&scratch, &library);
            fs::remove_dir_all(&scratch).ok();
            unpacked?;
        }
        Ok(library)
    }

    /// Downloads the packages in turn until one contains the library, and moves the library to its place.
    fn fetch(&self, scratch: &Path, library: &Path) -> Result {
        for package in self.packages {
            note(&format!("unpacking {} from Debian's package {package}", self.name));
            fs::remove_dir_all(scratch).ok();
            create_folder(scratch)?;
            if !download(package, scratch) {
                setup::refresh_package_lists();
                if !download(package, scratch) {
                    continue;
                }
            }
            let Some(deb) = find(scratch, &|name| name.ends_with(".deb")) else { continue };
            shell::run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(scratch))?;
            if let Some(found) = find(scratch, &|name| name == self.library) {
                create_folder(library.parent().unwrap_or(scratch))?;
                return fs::rename(&found, library)
                    .map_err(|e| format!("cannot move {} to {}: {e}", found.display(), library.display()));
            }
        }
        Err(format!("{} is in none of these Debian packages: {}", self.library, self.packages.join(", ")))
    }

    /// Writes the ICD file of `library` for the Vulkan loader.
    fn describe(&self, drivers: &Path, library: &Path) -> Result<PathBuf> {
        let folder = drivers.join(self.name);
        create_folder(&folder)?;
        let path = folder.join("icd.json");
        let icd = format!(
            "{{\"file_format_version\": \"1.0.0\", \"ICD\": {{\"library_path\": {:?}, \"api_version\": \"1.3.0\"}}}}\n",
            library.to_string_lossy()
        );
        fs::write(&path, icd).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(path)
    }
}

fn create_folder(path: &Path) -> Result {
    fs::create_dir_all(path).map_err(|e| format!("cannot create {}: {e}", path.display()))
}

/// `apt-get download`, which needs no root. It must not switch to apt's own user, who cannot write here.
fn download(package: &str, folder: &Path) -> bool {
    let args = ["-qq", "-o", "APT::Sandbox::User=root", "download", package];
    shell::run(Command::new("apt-get").args(args).current_dir(folder)).is_ok()
}

/// The first file under a folder whose name matches.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find_map(|path| {
        // Packages contain links, some to parent folders; only files in the package itself are searched.
        if path.is_dir() && !path.is_symlink() {
            return find(&path, wanted);
        }
        path.file_name()?.to_str().is_some_and(wanted).then_some(path)
    })
}
