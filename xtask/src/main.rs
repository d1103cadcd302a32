//! Set-up, checks and packaging. The main commands are `cargo xtask caption` and `cargo xtask test`.

mod apt;
mod check;
mod dist;
mod driver;
mod metadata;
mod notices;
mod release;
mod sanitize;
mod serve;
mod setup;
mod shell;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shell::{Cargo, Program, Result};

const USAGE: &str = "\
Usage: cargo xtask <COMMAND>

Commands:
  caption [ARGS...]  Build `shadetell` in release, and run `shadetell caption ARGS...`.
                     Without ARGS it captions the photos in photos/.
  test [OPTIONS] [-- CARGO_TEST_ARGS...]
                     Make sure that there is a GPU adapter (a software one is installed where there is none),
                     then every check: format, lints, documentation, all tests on Mesa's
                     software driver (lavapipe), and the kernel tests once more on SwiftShader.
      --quick        Only format, lints and tests, on the adapter of this machine
      --mesa22       Run the kernel tests on Debian 12's own Mesa 22 too
  release-checks     Only the stages about publishing: packages and their sizes, licences, the public interface
  dist [--debug]     Build the command and the C library, in release unless --debug is given, and pack them with manual
                     pages, completions and notices into an archive with a checksum, in target/dist
  sanitize           The tests of the C interface and of file reading under AddressSanitizer
  split-model FILE   Split a model file into the parts of weights/everyday

The set-up prints every command before running it, and does nothing if nothing is missing.";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    let done = match command.to_str() {
        Some("caption") => caption(&rest),
        Some("test") => check::Options::parse(&rest).and_then(|options| check::test(&options)),
        Some("release-checks") => check::release(&Cargo::in_workspace()),
        Some("dist") => dist(&rest),
        Some("sanitize") => sanitize::sanitize(&Cargo::in_workspace()).map(|()| ExitCode::SUCCESS),
        Some("split-model") => split_model(&rest),
        Some("help" | "-h" | "--help") => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some("") => Err(format!("no command given\n\n{USAGE}")),
        _ => Err(format!("unknown command {command:?}\n\n{USAGE}")),
    };
    done.unwrap_or_else(|problem| {
        eprintln!("error: {problem}");
        ExitCode::FAILURE
    })
}

/// Builds the command, and captions; the exit code is that of the command.
fn caption(args: &[OsString]) -> Result<ExitCode> {
    let cargo = Cargo::in_workspace();
    cargo.run(&["build", "--release", "-p", "shadetell-cli"])?;

    let shadetell = Program::built_in("release")?;
    let mut command = shadetell.command("caption");
    if args.is_empty() {
        command.args(samples(&cargo)?)
    } else {
        command.args(args)
    };
    let code = shell::status(&mut command)?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Makes an archive.
fn dist(args: &[OsString]) -> Result<ExitCode> {
    let debug = match args {
        [] => false,
        [option] if option == "--debug" => true,
        _ => return Err("expected nothing or --debug after `dist`".to_owned()),
    };
    dist::dist(&Cargo::in_workspace(), debug).map(|()| ExitCode::SUCCESS)
}

/// Splits a model file into parts.
fn split_model(args: &[OsString]) -> Result<ExitCode> {
    let [file] = args else {
        return Err("expected a model file, as in `cargo xtask split-model everyday.safetensors`".to_owned());
    };
    release::split_model(&Cargo::in_workspace(), Path::new(file)).map(|()| ExitCode::SUCCESS)
}

/// The photos that come with the project, in alphabetical order.
fn samples(cargo: &Cargo) -> Result<Vec<PathBuf>> {
    const PHOTOS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
    let folder = cargo.root().join("photos");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let here = std::env::current_dir().unwrap_or_default();
    let mut photos: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .map(|path| path.strip_prefix(&here).map(Path::to_path_buf).unwrap_or(path))
        .filter(|path| path.extension().is_some_and(|ext| PHOTOS.iter().any(|photo| ext == *photo)))
        .collect();
    photos.sort();
    if photos.is_empty() {
        return Err(format!(
            "no photo in {}: give one, as in `cargo xtask caption dog.jpg`",
            folder.display()
        ));
    }
    Ok(photos)
}
