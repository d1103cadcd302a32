//! `shadetell man`: writes manual pages, for packagers.

use super::Cli;
use super::failure::Failure;
use super::names::shown;
use clap::{Args, CommandFactory, ValueHint};
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes a manual page for each subcommand into a folder
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct ManArgs {
    /// An existing folder
    #[arg(value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(args: &ManArgs) -> Result<ExitCode, Failure> {
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &args.folder).map_err(|error| {
        Failure::System(format!("{}: cannot write manual pages: {error}", shown(&args.folder)))
    })?;
    Ok(ExitCode::SUCCESS)
}
