//! Makes sure that this machine has a GPU adapter, at least a software one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::apt::{self, FAST_MESA, Source, Step};
use crate::driver;
use crate::shell::{self, Program, Result, note};

/// A Linux distribution, by its ID or the ID of a similar one, with the commands that install lavapipe and SwiftShader.
struct Distribution {
    ids: &'static [&'static str],
    lavapipe: &'static str,
    swiftshader: &'static str,
}

const DISTRIBUTIONS: [Distribution; 7] = [
    Distribution {
        ids: &["fedora", "rhel", "centos"],
        lavapipe: "sudo dnf install mesa-vulkan-drivers vulkan-loader",
        swiftshader: "sudo dnf install chromium",
    },
    Distribution {
        ids: &["arch"],
        lavapipe: "sudo pacman -S vulkan-swrast vulkan-icd-loader",
        swiftshader: "sudo pacman -S chromium",
    },
    Distribution {
        ids: &["alpine"],
        lavapipe: "doas apk add mesa-vulkan-swrast vulkan-loader",
        swiftshader: "doas apk add chromium chromium-swiftshader",
    },
    Distribution {
        ids: &["opensuse", "suse", "sles"],
        lavapipe: "sudo zypper install libvulkan_lvp libvulkan1",
        swiftshader: "sudo zypper install chromium",
    },
    Distribution {
        ids: &["nixos"],
        lavapipe: "set `hardware.graphics.enable = true;` in configuration.nix and rebuild",
        swiftshader: "use a machine with another distribution: NixOS keeps Chromium's driver out of the usual folders",
    },
    Distribution {
        ids: &["ubuntu"],
        lavapipe: "sudo apt-get install mesa-vulkan-drivers libvulkan1",
        swiftshader: "sudo snap install chromium",
    },
    Distribution {
        ids: &["debian"],
        lavapipe: "sudo apt-get install mesa-vulkan-drivers libvulkan1",
        swiftshader: "sudo apt-get install chromium",
    },
];

/// The contents of /etc/os-release; empty on systems other than Linux.
#[derive(Debug, Default, PartialEq)]
pub struct Release {
    ids: Vec<String>,
    codename: String,
}

impl Release {
    pub fn of_this_machine() -> Self {
        let read = |path| fs::read_to_string(path).ok();
        read("/etc/os-release")
            .or_else(|| read("/usr/lib/os-release"))
            .map_or_else(Self::default, |t| Self::parse(&t))
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\''])
        };
        let ids = [value("ID"), value("ID_LIKE")].join(" ");
        Self {
            ids: ids.split_whitespace().map(String::from).collect(),
            codename: value("VERSION_CODENAME").into(),
        }
    }

    /// The codename, if this is Debian itself.
    pub fn debian(&self) -> Option<&str> {
        (self.ids.first()? == "debian" && !self.codename.is_empty()).then_some(&self.codename)
    }

    fn distribution(&self) -> Option<&'static Distribution> {
        // SUSE's IDs contain a product name: opensuse-leap, opensuse-tumbleweed.
        let families = self.ids.iter().filter_map(|id| id.split('-').next());
        families.into_iter().find_map(|id| DISTRIBUTIONS.iter().find(|known| known.ids.contains(&id)))
    }

    fn lavapipe_advice(&self) -> String {
        let how = match (self.distribution(), std::env::consts::OS) {
            (Some(known), _) => format!("run: {}", known.lavapipe),
            (None, "macos") => "macOS has Metal: run this outside of virtual machines, which may not provide it".into(),
            (None, "windows") => {
                "update the graphics driver; for a software adapter get Mesa's lavapipe for Windows and let \
                 VK_DRIVER_FILES name its lvp_icd.x86_64.json"
                    .into()
            }
            _ => "install Mesa's Vulkan drivers (lavapipe) and the Vulkan loader with the system's package manager".into(),
        };
        format!("no usable GPU adapter. To get one, {how}")
    }

    pub fn swiftshader_advice(&self) -> String {
        let how = self
            .distribution()
            .map_or("install Chromium or Chrome, which contain it", |known| known.swiftshader);
        format!("SwiftShader (libvk_swiftshader.so) is not installed. To get it: {how}")
    }
}

/// Installs a software Vulkan driver if `shadetell devices` finds no adapter, or only OpenGL on the CPU, which is many times
/// slower.
pub fn ensure_adapter(shadetell: &Program) -> Result {
    let Some(list) = shadetell.devices(None)? else {
        note("no GPU adapter here: installing Mesa's software driver");
        install_mesa(&Release::of_this_machine())?;
        return shadetell.devices(None)?.map(drop).ok_or_else(|| {
            "the software driver is installed, but `shadetell devices` finds no adapter: run it to see the reason".into()
        });
    };
    if is_slow_opengl(&list) {
        note("only OpenGL on the CPU here: installing Mesa's Vulkan driver, which is many times faster");
        let installed = install_mesa(&Release::of_this_machine());
        installed.unwrap_or_else(|problem| note(&format!("continuing with OpenGL: {problem}")));
        return Ok(());
    }
    if let Some(version) = installed_mesa().filter(|version| is_slow(version) && list.contains("llvmpipe")) {
        note(&format!(
            "Mesa {version} is slow: `cargo xtask test` installs a newer one if backports have it"
        ));
    }
    Ok(())
}

/// Whether all adapters of a list are OpenGL drivers that run on the CPU.
fn is_slow_opengl(list: &str) -> bool {
    let mut adapters = list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    adapters.all(|line| line.contains("software adapter, OpenGL"))
}

/// The lavapipe of this machine, after installing or updating it.
pub fn lavapipe() -> Result<PathBuf> {
    let release = Release::of_this_machine();
    match driver::lavapipe_icd() {
        Some(icd) if !installed_mesa().is_some_and(|version| is_slow(&version)) => return Ok(icd),
        Some(_) => {
            install_mesa(&release).unwrap_or_else(|problem| note(&format!("keeping the old Mesa: {problem}")))
        }
        None => install_mesa(&release)?,
    }
    driver::lavapipe_icd().ok_or_else(|| release.lavapipe_advice())
}

/// The Debian version of the installed drivers; `None` if they are not installed, or not from a Debian package.
fn installed_mesa() -> Option<String> {
    let query = ["-W", "-f=${Version}", "mesa-vulkan-drivers"];
    shell::output(Command::new("dpkg-query").args(query)).filter(|version| !version.is_empty())
}

fn is_slow(version: &str) -> bool {
    apt::major(version).is_some_and(|major| major < FAST_MESA)
}

/// Installs Mesa's Vulkan drivers, from the release's backports if those of the release are slow.
fn install_mesa(release: &Release) -> Result {
    if !driver::has_apt() {
        return Err(release.lavapipe_advice());
    }
    let sources = read_sources(Path::new("/etc/apt"));
    let from_backports = || {
        let policy = shell::output(
            Command::new("apt-cache").env("LC_ALL", "C").args(["policy", "mesa-vulkan-drivers"]),
        );
        let candidate = policy.as_deref().and_then(apt::candidate);
        let codename = release.debian().filter(|_| candidate.is_none_or(is_slow))?;
        apt::install_from_backports(&sources, codename)
    };
    let Some(root) = Root::find() else {
        let mut steps = vec![apt::update()];
        steps.extend(from_backports().unwrap_or_else(|| vec![apt::install(None)]));
        let script = steps.iter().map(Step::to_string).collect::<Vec<_>>().join("\n");
        return Err(format!(
            "Mesa's software driver has to be installed. Run this as root, then try again:\n\n{script}\n"
        ));
    };
    root.refresh();
    if let Some(steps) = from_backports() {
        if steps.iter().try_for_each(|step| root.perform(step)).is_ok() {
            return Ok(());
        }
        if steps.iter().any(|step| matches!(step, Step::Write { .. })) {
            root.perform(&apt::forget_backports())?;
            root.refresh();
        }
        note("backports are not available: installing the Mesa of the release");
    }
    root.perform(&apt::install(None))?;
    if let Some(version) = installed_mesa().filter(|version| is_slow(version)) {
        note(&format!(
            "only Mesa {version} is available here: it works, but is 6 to 8 times slower than Mesa 25"
        ));
    }
    Ok(())
}

/// Installs the browser that compiles the kernels and shows the page.
pub fn chromium() -> Result {
    packages("chromium", &["--version"], &["chromium"])
}

/// Installs Node.js, which drives the browser.
pub fn node() -> Result {
    packages("npm", &["--version"], &["nodejs", "npm"])
}

/// Installs Python, which the test tool of the API is written in.
pub fn python() -> Result {
    packages("python3", &["-c", "import ensurepip, venv"], &["python3", "python3-venv"])
}

/// Installs Debian packages, unless a program is already installed.
fn packages(program: &str, args: &[&str], names: &[&str]) -> Result {
    if shell::output(Command::new(program).args(args)).is_some() {
        return Ok(());
    }
    let names_ = names.join(" ");
    let Some(root) = driver::has_apt().then(Root::find).flatten() else {
        return Err(format!(
            "`{program}` has to be installed: on Debian run `apt-get install {names_}` as root"
        ));
    };
    root.refresh();
    root.perform(&apt::install_packages(names))
}

/// Fetches apt's package lists, if that is possible.
pub fn refresh_package_lists() {
    if let Some(root) = Root::find() {
        root.refresh();
    }
}

/// All binary package sources that apt reads.
fn read_sources(etc_apt: &Path) -> Vec<Source> {
    let parts = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten();
    let mut files: Vec<PathBuf> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.push(etc_apt.join("sources.list"));
    files.sort();
    let parse = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => apt::parse_list(&text),
            Some("sources") => apt::parse_deb822(&text),
            _ => Vec::new(),
        }
    };
    files.iter().flat_map(parse).collect()
}

/// A way to run commands as root.
enum Root {
    Already,
    Sudo,
}

impl Root {
    fn find() -> Option<Self> {
        if shell::output(Command::new("id").arg("-u"))?.trim() == "0" {
            return Some(Self::Already);
        }
        shell::output(Command::new("sudo").arg("--version")).map(|_| Self::Sudo)
    }

    fn command(&self, words: &[&str]) -> Command {
        let (program, args) = match self {
            Self::Already => (words[0], &words[1..]),
            Self::Sudo => ("sudo", words),
        };
        let mut command = Command::new(program);
        command.args(args);
        command
    }

    fn perform(&self, step: &Step) -> Result {
        match step {
            Step::Run(words) => {
                shell::run(&mut self.command(&words.iter().map(String::as_str).collect::<Vec<_>>()))
            }
            Step::Write { path, text } => {
                note(&format!("writing {path}:\n{text}"));
                let failed = |e| format!("cannot write {path}: {e}");
                let mut tee = self.command(&["tee", path]);
                let mut tee = tee.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(failed)?;
                tee.stdin
                    .take()
                    .map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))
                    .map_err(failed)?;
                let status = tee.wait().map_err(failed)?;
                if status.success() {
                    Ok(())
                } else {
                    Err(format!("cannot write {path}: tee failed ({status})"))
                }
            }
        }
    }

    /// Fetches the package lists. A broken source is not an error here: later commands fail if it matters.
    fn refresh(&self) {
        if let Err(problem) = self.perform(&apt::update()) {
            note(&format!("continuing although {problem}"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn opengl_on_the_cpu_is_recognised_as_slow() {
        let opengl = "0  llvmpipe (LLVM 15.0.6, 256 bits): software adapter, OpenGL, driver 4.5\n   maxBufferSize 2 GiB\n";
        let vulkan = "1  llvmpipe (LLVM 19.1.7, 256 bits): software adapter, Vulkan, driver llvmpipe\n";
        let hardware = "0  some GPU: discrete GPU, OpenGL, driver 4.6\n";
        assert!(is_slow_opengl(opengl));
        assert!(!is_slow_opengl(&format!("{opengl}{vulkan}")) && !is_slow_opengl(hardware));
    }

    fn release(text: &str) -> Release {
        Release::parse(text)
    }

    #[test]
    fn only_debian_itself_uses_debian_backports() {
        let debian =
            release("PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n");
        assert_eq!(debian.debian(), Some("bookworm"));
        let ubuntu = release("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n");
        assert_eq!(ubuntu.debian(), None);
        assert_eq!(release("ID=debian\n").debian(), None);
    }

    #[test]
    fn advice_names_the_packages_of_each_distribution() {
        let advice = |text| release(text).lavapipe_advice();
        assert!(advice("ID=fedora\n").contains("dnf"));
        assert!(advice("ID=manjaro\nID_LIKE=arch\n").contains("pacman"));
        assert!(advice("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n").contains("zypper"));
        assert!(advice("ID=alpine\n").contains("apk"));
        assert!(advice("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n").contains("apt-get"));
        assert!(release("ID=ubuntu\nID_LIKE=debian\n").swiftshader_advice().contains("snap"));
        assert!(advice("ID=something\n").contains("no usable GPU adapter"));
    }

    #[test]
    fn old_mesa_is_slow() {
        assert!(is_slow("22.3.6-1+deb12u1"));
        assert!(!is_slow("25.0.7-2~bpo12+1"));
        assert!(!is_slow(""));
    }
}
