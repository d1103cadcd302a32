//! `shadetell completions`: scripts with which shells complete the options.

use super::failure::Failure;
use super::{Cli, output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Prints a script that lets a shell complete options and file names
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell completions bash \\
      > ~/.local/share/bash-completion/completions/shadetell
  shadetell completions fish > ~/.config/fish/completions/shadetell.fish
  shadetell completions zsh > ~/.zfunc/_shadetell      with ~/.zfunc in fpath")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    // Write to memory first: the generator would panic on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shadetell", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
