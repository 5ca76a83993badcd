//! `config`: the settings in effect.

use std::io::{self, BufWriter, Write};

use clap::Subcommand;
use serde_json::json;

use super::{CommandResult, cannot_write};
use crate::config::{Config, EffectiveSetting, Place};
use crate::domain::printable;

const SHOW_HELP: &str = "\
The output is a configuration file: every setting with its value, and behind it where it was set. \
Secrets that are set are left out. Flags, environment variables and the file are read as `serve` \
reads them, so give it the same ones; nothing is changed, and no database is opened.

Examples:
  accounts-server --config accounts.toml config show
  accounts-server --config accounts.toml config show --changed > effective.toml
  accounts-server config show --json | jq -r 'select(.source != \"default\") | .name'";

/// What to do with the settings.
#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Show the settings in effect, and where each was set
    #[command(after_help = SHOW_HELP)]
    Show {
        /// Only settings that were set somewhere
        #[arg(long)]
        changed: bool,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: ConfigCommand, config: &Config) -> CommandResult {
    let ConfigCommand::Show { changed, json } = command;
    let settings: Vec<_> = config
        .effective()
        .filter(|setting| !changed || setting.origin.is_some())
        .collect();
    let mut out = BufWriter::new(io::stdout());
    let written = match json {
        true => print_json(&mut out, &settings),
        false => print_toml(&mut out, &settings),
    };
    written.and_then(|()| out.flush()).map_err(cannot_write)
}

/// Where a value comes from, in a word.
fn source(origin: Option<&Place>) -> &'static str {
    match origin {
        None => "default",
        Some(Place::File { .. }) => "file",
        Some(Place::Environment(_)) => "environment",
        Some(Place::Flag(_)) => "flag",
    }
}

/// Where exactly a value comes from; empty for a default.
fn place(origin: Option<&Place>) -> String {
    match origin {
        None => String::new(),
        Some(place) => place.to_string(),
    }
}

fn print_json(out: &mut impl Write, settings: &[EffectiveSetting<'_>]) -> io::Result<()> {
    for EffectiveSetting {
        setting,
        value,
        origin,
    } in settings
    {
        let record = json!({
            "name": setting.name,
            "value": value,
            "is_secret": setting.secret,
            "source": source(*origin),
            "place": place(*origin),
        });
        writeln!(out, "{record}")?;
    }
    Ok(())
}

fn print_toml(out: &mut impl Write, settings: &[EffectiveSetting<'_>]) -> io::Result<()> {
    let sections = settings.chunk_by(|a, b| a.setting.section == b.setting.section);
    for (index, section) in sections.enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "[{}]", section[0].setting.section)?;
        for setting in section {
            let key = setting.setting.key;
            let comment = match setting.origin {
                None => "default".to_owned(),
                origin => printable(&place(origin)).into_owned(),
            };
            match &setting.value {
                Some(value) => writeln!(out, "{key} = {value}  # {comment}")?,
                None => writeln!(out, "# {key} is set and not shown  # {comment}")?,
            }
        }
    }
    Ok(())
}
