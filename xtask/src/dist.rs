//! `cargo xtask dist`: an archive of the command, its manual pages and completions, and the C library, with checksums.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::metadata::Metadata;
use crate::notices::notices;
use crate::shell::{self, Cargo, Program, Result, note};

/// Shells with completions, and the file names that they expect.
const COMPLETIONS: [(&str, &str); 4] = [
    ("bash", "shadetell.bash"),
    ("fish", "shadetell.fish"),
    ("powershell", "_shadetell.ps1"),
    ("zsh", "_shadetell"),
];

/// File names of the C library: on Linux and others, macOS, Windows.
const LIBRARIES: [&str; 6] = [
    "libshadetell_c.a",
    "libshadetell_c.so",
    "libshadetell_c.dylib",
    "shadetell_c.lib",
    "shadetell_c.dll",
    "shadetell_c.dll.lib",
];

/// Builds everything, in release unless `debug`, and packs it into `target/dist`.
pub fn dist(cargo: &Cargo, debug: bool) -> Result {
    let (profile, options): (_, &[&str]) = if debug { ("debug", &[]) } else { ("release", &["--release"]) };
    let build = ["build", "--locked", "-p", "shadetell-cli", "-p", "shadetell-capi"];
    cargo.run(&[&build[..], options].concat())?;
    let shadetell = Program::built_in(profile)?;
    let name = format!("shadetell-{}-{}", env!("CARGO_PKG_VERSION"), host()?);
    let folder = cargo.target().join("dist");
    let tree = folder.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|e| format!("cannot remove {}: {e}", tree.display()))?;
    }
    Tree { root: cargo.root(), to: &tree }.fill(cargo, &shadetell)?;

    let archive = format!("{name}.tar.gz");
    shell::run(Command::new("tar").args(["-czf", &archive, &name]).current_dir(&folder))?;
    let path = folder.join(&archive);
    let sums = format!("{}  {archive}\n", sha256(&path)?);
    write(&folder.join(format!("{archive}.sha256")), sums.as_bytes())?;
    note(&format!("{}: {} bytes", path.display(), fs::metadata(&path).map_or(0, |file| file.len())));
    Ok(())
}

/// The folder to be packed.
struct Tree<'a> {
    /// The repository.
    root: &'a Path,
    to: &'a Path,
}

impl Tree<'_> {
    fn fill(&self, cargo: &Cargo, shadetell: &Program) -> Result {
        let bin = format!("bin/shadetell{}", std::env::consts::EXE_SUFFIX);
        self.copy(shadetell.path(), &bin)?;
        for (from, to) in [
            ("README.md", "README.md"),
            ("CHANGELOG.md", "CHANGELOG.md"),
            ("LICENSE", "LICENSE"),
            ("LICENSE-APACHE", "LICENSE-APACHE"),
            ("LICENSE-MIT", "LICENSE-MIT"),
            ("weights/everyday/LICENSE.md", "LICENSE-MODEL.md"),
            ("weights/README.md", "MODEL.md"),
            ("include/shadetell.h", "include/shadetell.h"),
            ("capi/examples/caption.c", "share/doc/shadetell/caption.c"),
            ("capi/package/shadetell-config.cmake", "lib/cmake/shadetell/shadetell-config.cmake"),
        ] {
            self.copy(&self.root.join(from), to)?;
        }
        for (from, to) in [
            ("capi/package/shadetell.pc.in", "lib/pkgconfig/shadetell.pc"),
            (
                "capi/package/shadetell-config-version.cmake.in",
                "lib/cmake/shadetell/shadetell-config-version.cmake",
            ),
        ] {
            let path = self.root.join(from);
            let text =
                fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            self.write(to, text.replace("@VERSION@", env!("CARGO_PKG_VERSION")).as_bytes())?;
        }
        let built = shadetell.path().parent().unwrap_or(self.root);
        let libraries: Vec<_> = LIBRARIES.iter().filter(|name| built.join(name).exists()).collect();
        if libraries.is_empty() {
            return Err(format!(
                "expected the C library in {}, found none of {LIBRARIES:?}",
                built.display()
            ));
        }
        for name in libraries {
            self.copy(&built.join(name), &format!("lib/{name}"))?;
        }

        let notices = notices(&Metadata::read(cargo)?, &["shadetell-cli", "shadetell-capi"])?;
        self.write("THIRD-PARTY.md", notices.as_bytes())?;
        let manual = self.to.join("share/man/man1");
        fs::create_dir_all(&manual).map_err(|e| format!("cannot create {}: {e}", manual.display()))?;
        shell::run(shadetell.command("man").arg(&manual))?;
        for (shell_name, file) in COMPLETIONS {
            let script = shell::output(shadetell.command("completions").arg(shell_name));
            let script = script.ok_or_else(|| format!("`shadetell completions {shell_name}` failed"))?;
            self.write(&format!("share/completions/{file}"), script.as_bytes())?;
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: &str) -> Result {
        let to = self.place(to)?;
        let copied = fs::copy(from, &to).map(drop);
        copied.map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))
    }

    fn write(&self, to: &str, content: &[u8]) -> Result {
        write(&self.place(to)?, content)
    }

    /// The path of a file, after creating its folder.
    fn place(&self, to: &str) -> Result<PathBuf> {
        let path = self.to.join(to);
        let folder = path.parent().unwrap_or(self.to);
        fs::create_dir_all(folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
        Ok(path)
    }
}

fn write(path: &Path, content: &[u8]) -> Result {
    fs::write(path, content).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The target system, such as `x86_64-unknown-linux-gnu`.
fn host() -> Result<String> {
    let text = shell::output(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` does not say which system it builds for".to_owned())
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
