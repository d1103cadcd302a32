//! Running other programs, and saying so.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What can go wrong is told in one sentence that says what to do next.
pub type Result<T = ()> = std::result::Result<T, String>;

/// A notice for the person at the terminal; standard output belongs to the programs that are run.
pub fn note(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs a command with its output on the terminal and gives its exit status.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().map_err(|e| format!("cannot start {:?}: {e}", command.get_program()))
}

/// Prints a command, runs it, and takes anything but success for an error.
pub fn run(command: &mut Command) -> Result {
    let text = describe(command);
    eprintln!("> {text}");
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(format!("`{text}` failed ({status})")) }
}

/// What a command that succeeds writes to standard output; `None` where it fails or is not installed.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Cargo, and the workspace this program was built from.
pub struct Cargo {
    root: PathBuf,
}

impl Cargo {
    pub fn in_workspace() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: here.parent().unwrap_or(here).to_path_buf() }
    }

    /// The folder of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `cargo SUBCOMMAND ...` in the workspace's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(args).current_dir(&self.root);
        command
    }

    pub fn run(&self, args: &[&str]) -> Result {
        run(&mut self.command(args))
    }

    /// The `shadetell` command as `cargo run FLAGS...` builds it.
    pub fn program(&self, flags: &[&str]) -> Program {
        let flags = flags.iter().map(|flag| flag.to_string()).collect();
        Program { manifest: self.root.join("Cargo.toml"), flags }
    }
}

/// The `shadetell` command, run from the caller's folder so that relative paths mean what they say.
pub struct Program {
    manifest: PathBuf,
    flags: Vec<String>,
}

impl Program {
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new("cargo");
        command.args(["run", "--quiet", "--bin", "shadetell", "--manifest-path"]).arg(&self.manifest);
        command.args(&self.flags).arg("--").arg(subcommand);
        command
    }
}
