//! `pages`: the templates of the account pages.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::output_file::{ProtectedFiles, write_public};
use super::{CommandResult, cannot_write};
use crate::config::Config;
use crate::templates::PageTemplates;

/// What to do with the pages.
#[derive(Subcommand)]
pub(super) enum PagesCommand {
    /// Write the built-in templates and style sheet to a folder, to edit them
    ///
    /// Remove what you do not change, and set [pages] templates to the folder. A file replaces the
    /// built-in one of the same name; an override.css is loaded after the style sheet.
    Export {
        /// The folder, which is created if missing
        #[arg(value_name = "DIR", default_value = "pages")]
        dir: PathBuf,
    },
}

pub(super) fn run(command: PagesCommand, config: &Config) -> CommandResult {
    match command {
        PagesCommand::Export { dir } => export(&dir, config),
    }
}

fn print(line: &str) -> CommandResult {
    writeln!(std::io::stdout(), "{line}").map_err(cannot_write)
}

/// Writes the built-in files, unless one of them exists and may have been edited.
fn export(dir: &Path, config: &Config) -> CommandResult {
    let protected = ProtectedFiles::of(config);
    let files: Vec<_> = PageTemplates::built_in()
        .map(|(name, text)| (dir.join(name), text))
        .collect();
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(format!(
            "{} exists already; nothing was written. Name a new folder",
            path.display()
        ));
    }
    for (path, text) in files {
        write_public(&path, text.as_bytes(), &protected)?;
        print(&path.display().to_string())?;
    }
    print(&format!(
        "change what you like, remove what you do not change, and set [pages] templates = {:?}",
        dir.display().to_string()
    ))
}
