//! Facts about the build for reports: the commit, and the version of wgpu.

use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    // A downloaded package has no repository, so its reports have no commit.
    let git = Path::new("../../.git");
    if git.exists() {
        println!("cargo::rerun-if-changed=../../.git/HEAD");
        println!("cargo::rerun-if-changed=../../.git/logs/HEAD");
    }
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok();
    let commit = commit.filter(|found| git.exists() && found.status.success());
    let commit = commit.and_then(|found| String::from_utf8(found.stdout).ok()).unwrap_or_default();
    let commit = commit.trim();
    println!("cargo::rustc-env=SHADETELL_COMMIT={commit}");

    // The lock file of the workspace, or the one in the package.
    let lock = ["../../Cargo.lock", "Cargo.lock"].into_iter().find(|lock| Path::new(lock).exists());
    let lock = lock.unwrap_or("Cargo.lock");
    println!("cargo::rerun-if-changed={lock}");
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let version = lock
        .split("[[package]]")
        .find(|package| package.contains("name = \"wgpu\"\n"))
        .and_then(|package| package.split("version = \"").nth(1)?.split('"').next())
        .unwrap_or("unknown");
    println!("cargo::rustc-env=SHADETELL_WGPU={version}");

    let package = env!("CARGO_PKG_VERSION");
    let commit = if commit.is_empty() { String::new() } else { format!("commit {commit}, ") };
    println!("cargo::rustc-env=SHADETELL_VERSION={package} ({commit}wgpu {version})");
}
