//! `completions` and `man`: shell completion scripts and manual pages, generated from the
//! arguments.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{CommandResult, cannot_write};

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
pub(super) fn man(arguments: ManArguments, command: Command) -> CommandResult {
    match arguments.dir {
        Some(dir) => {
            fs::create_dir_all(&dir).map_err(cannot_write)?;
            clap_mangen::generate_to(command, &dir).map_err(cannot_write)
        }
        None => clap_mangen::Man::new(command)
            .render(&mut io::stdout())
            .map_err(cannot_write),
    }
}
