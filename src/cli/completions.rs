//! `completions` and `man`: what a shell and a reader of manuals want to know of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{CommandResult, cannot_write};

#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManArguments {
    /// Write this page and one for each command into a folder, instead of this page to standard output
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Prints what makes a shell complete arguments.
pub(super) fn completions(arguments: &CompletionsArguments, mut command: Command) -> CommandResult {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script).map_err(cannot_write)
}

/// Prints the manual page, or writes all of them.
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
