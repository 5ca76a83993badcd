//! `keys`: the keys that sign tokens.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;

use super::user::{plain_table, set_padding};
use super::{CommandResult, cannot_write, existing, explain, read_secret, with_app};
use crate::accounts::{self, AccountError, KeyInfo};
use crate::config::{Config, SHORTEST_KEY_SECRET};
use crate::crypto::keyring::KeySealing;

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List the keys, the newest first
    List {
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Make a new key and print its id: it signs from now on, also in a running server
    ///
    /// Tokens of the keys before stay good until they expire. Then those keys go by themselves.
    Rotate,
    /// Remove a key that signs no more: what it has signed is dead within seconds
    ///
    /// For a key that somebody may have got hold of: rotate first, then remove it. Whoever is signed in with its tokens has to
    /// sign in again.
    Remove {
        /// Id of the key, as `keys list` shows it
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Encrypt all secrets of the database with another secret than [tokens] key_encryption_secret
    ///
    /// The present secret has to be configured. Reads the new one (at least 32 characters, such as from `openssl rand
    /// -base64 32`) from the first line of standard input, or asks for it. Stop the server before, and start it with the new
    /// secret.
    Reencrypt,
    /// Write all secrets of the database without encryption again
    ///
    /// The present secret has to be configured. Take it out of the configuration afterwards: whatever starts with it encrypts
    /// them anew.
    Decrypt,
}

pub(super) fn run(command: KeysCommand, config: Config) -> CommandResult {
    with_app(existing(config)?, async |app| match command {
        KeysCommand::List { json } => {
            let keys = accounts::list_keys(&app).await.map_err(explain)?;
            list(&keys, json).map_err(cannot_write)
        }
        KeysCommand::Rotate => {
            let kid = accounts::rotate_keys(&app).await.map_err(explain)?;
            writeln!(io::stdout(), "{kid}").map_err(cannot_write)
        }
        KeysCommand::Remove { kid } => match accounts::remove_key(&app, &kid).await {
            Err(AccountError::NotFound) => Err(format!(
                "no key {kid} that signs no more; `keys list` shows them, and `keys rotate` retires the one that signs"
            )),
            outcome => outcome.map_err(explain),
        },
        KeysCommand::Reencrypt => {
            if !app.keys.sealing().is_on() {
                return Err(
                    "the keys are not encrypted: whatever starts with [tokens] key_encryption_secret set encrypts them"
                        .into(),
                );
            }
            let secret = read_secret("New secret: ")?;
            if secret.chars().count() < SHORTEST_KEY_SECRET {
                return Err(format!(
                    "a secret has at least {SHORTEST_KEY_SECRET} characters, such as those of `openssl rand -base64 32`"
                ));
            }
            accounts::reseal_keys(&app, &KeySealing::new(&secret))
                .await
                .map_err(explain)
        }
        KeysCommand::Decrypt => accounts::reseal_keys(&app, &KeySealing::new(""))
            .await
            .map_err(explain),
    })
}

fn list(keys: &[KeyInfo], json: bool) -> io::Result<()> {
    let mut out = io::stdout();
    if json {
        for key in keys {
            let record = json!({
                "kid": key.kid, "algorithm": key.algorithm, "created_at": key.created_at,
                "retired_at": key.retired_at, "needed_until": key.needed_until, "is_encrypted": key.is_encrypted,
            });
            writeln!(out, "{record}")?;
        }
        return Ok(());
    }
    let mut table = plain_table();
    table.set_header([
        "KID",
        "ALGORITHM",
        "CREATED",
        "SIGNS",
        "COUNTS UNTIL",
        "ENCRYPTED",
    ]);
    for key in keys {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.add_row([
            key.kid.clone(),
            key.algorithm.clone(),
            key.created_at.to_string(),
            yes_or_no(key.retired_at.is_none()),
            key.needed_until
                .map(|until| until.to_string())
                .unwrap_or_default(),
            yes_or_no(key.is_encrypted),
        ]);
    }
    set_padding(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}
