//! `user`: managing accounts.

use std::io::Write;

use clap::Subcommand;

use super::{CommandResult, read_password, with_app};
use crate::accounts::{self, AccountError};
use crate::config::Config;
use crate::domain::{Fields, Input};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Create a verified account and print its id
    ///
    /// Asks for the password at the terminal. The rules for passwords are those of the API.
    Create {
        /// The address to sign in with
        email: String,
        /// Make it a staff account, which sees and changes all others
        #[arg(long)]
        staff: bool,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
}

pub(super) fn run(command: UserCommand, config: Config) -> CommandResult {
    match command {
        UserCommand::Create {
            email,
            staff,
            password_stdin,
        } => {
            let password = read_password(password_stdin)?;
            let mut fields = Fields::json();
            fields.insert("email".into(), Input::Text(email));
            fields.insert("password".into(), Input::Text(password));
            let id = with_app(config, async |app| {
                accounts::create_user(&app, &fields, staff)
                    .await
                    .map_err(explain)
            })?;
            writeln!(std::io::stdout(), "{id}").map_err(|e| format!("cannot write: {e}"))
        }
    }
}

/// Puts a refusal into lines for a person: the field, then what is wrong with it.
fn explain(error: AccountError) -> String {
    match error {
        AccountError::Fields(errors) => errors
            .iter()
            .map(|(field, messages)| format!("{field}: {}", messages.join(" ")))
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    }
}
