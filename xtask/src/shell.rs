//! Runs other programs, and prints their commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::driver::Driver;

/// An error is one sentence that states the problem and what to do next.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Prints a notice to standard error; standard output is reserved for the programs that are run.
pub fn note(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs a command with its output on the terminal and returns its exit status.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().map_err(|e| format!("cannot start {:?}: {e}", command.get_program()))
}

/// Prints a command and runs it; anything but success is an error.
pub fn run(command: &mut Command) -> Result {
    let text = describe(command);
    eprintln!("> {text}");
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(format!("`{text}` failed ({status})")) }
}

/// The standard output of a command; `None` if it fails or is not installed.
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

    /// The target folder: this program is in its subfolder `debug`.
    pub fn target(&self) -> PathBuf {
        let own = std::env::current_exe().unwrap_or_default();
        own.ancestors().nth(2).map_or_else(|| self.root.join("target"), Path::to_path_buf)
    }

    /// `cargo SUBCOMMAND ...` in the workspace's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(args).current_dir(&self.root);
        command
    }

    /// The same in the folder of an example that has a lock file of its own.
    pub fn in_example(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        // Bevy declares a newer Rust than it needs.
        command.args(args).args(["--locked", "--ignore-rust-version"]);
        command.current_dir(self.root.join("examples").join(name));
        command
    }

    pub fn run(&self, args: &[&str]) -> Result {
        run(&mut self.command(args))
    }
}

/// The built `shadetell` command.
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// The command as built in a profile, from this subfolder of the target folder: `debug` or `release`.
    pub fn built_in(profile: &str) -> Result<Self> {
        // This program is itself in the subfolder `debug` of the target folder.
        let own = std::env::current_exe().map_err(|e| format!("cannot find the target folder: {e}"))?;
        let target = own.ancestors().nth(2).unwrap_or(&own);
        Ok(Self { path: target.join(profile).join(format!("shadetell{}", std::env::consts::EXE_SUFFIX)) })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg(subcommand);
        command
    }

    /// The output of `shadetell devices`, on one driver or on those of this machine; `None` if there is no adapter.
    pub fn devices(&self, driver: Option<&Driver>) -> Result<Option<String>> {
        const NO_ADAPTER: i32 = 4;
        let mut command = self.command("devices");
        if let Some(driver) = driver {
            driver.apply(&mut command);
        }
        let output = command.output().map_err(|e| format!("cannot start {}: {e}", self.path.display()))?;
        match output.status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            Some(NO_ADAPTER) => Ok(None),
            _ => Err(format!(
                "`shadetell devices` failed ({}):\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }
}
