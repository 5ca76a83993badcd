//! `completions` and `man`: shell completion scripts and manual pages, generated from the
//! arguments.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use super::output_file::{ProtectedFiles, write_public};
use super::{CommandResult, cannot_write};
use crate::config::Config;

#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// Shell to complete for
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManArguments {
    /// Write the pages of all commands into this folder instead of printing one
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Prints the completion script of a shell.
pub(super) fn completions(arguments: &CompletionsArguments, mut command: Command) -> CommandResult {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script).map_err(cannot_write)
}

/// Prints the manual page, or writes the pages of all commands.
pub(super) fn man(arguments: ManArguments, command: Command, config: &Config) -> CommandResult {
    match arguments.dir {
        Some(dir) => write_pages(command, &dir, &ProtectedFiles::of(config)),
        None => clap_mangen::Man::new(command)
            .render(&mut io::stdout())
            .map_err(cannot_write),
    }
}

/// Writes the page of a command and those of its subcommands.
fn write_pages(command: Command, dir: &Path, protected: &ProtectedFiles) -> CommandResult {
    let pages = tempfile::tempdir().map_err(cannot_write)?;
    clap_mangen::generate_to(command, pages.path()).map_err(cannot_write)?;
    for page in fs::read_dir(pages.path()).map_err(cannot_write)? {
        let page = page.map_err(cannot_write)?;
        let text = fs::read(page.path()).map_err(cannot_write)?;
        write_public(&dir.join(page.file_name()), &text, protected)?;
    }
    Ok(())
}
