//! `keys`: manages the keys that sign tokens.

use std::io::{self, Write};

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::prompt::read_secret;
use super::user::{plain_table, set_padding};
use super::{CommandResult, cannot_write, describe, require_database, with_app};
use crate::accounts::{self, AccountError, Administrator, KeyInfo};
use crate::config::{Config, MIN_KEY_SECRET_CHARS};
use crate::crypto::keyring::KeySealing;
use crate::domain::{Fields, SigningAlgorithm};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List the signing keys, newest first
    List {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Create a signing key, use it from now on (in a running server too) and print its id
    ///
    /// The keys of OAuth clients are replaced too, each by one of its algorithm. Tokens signed by earlier keys stay valid until they expire; then those keys are removed.
    Rotate {
        /// Algorithm of the new key. By default that of the current key
        ///
        /// ES256 is verified by practically every library; EdDSA by fewer; RS256 by all, but it
        /// is large and slow. When [tokens] algorithm is set, change it there instead.
        #[arg(long, value_parser = algorithms())]
        algorithm: Option<SigningAlgorithm>,
    },
    /// Remove a retired key: its tokens become invalid within seconds
    ///
    /// For a compromised key: rotate first, then remove it. Users with tokens of the removed key
    /// sign in again.
    Remove {
        /// Key id, as shown by `keys list`
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Re-encrypt all secrets in the database with a new [tokens] key_encryption_secret
    ///
    /// The current secret must be configured. Reads the new one (at least 32 characters, such as
    /// the output of `openssl rand -base64 32`) from the first line of standard input, or asks for
    /// it. Stop the server first, and start it with the new secret.
    Reencrypt,
    /// Store all secrets in the database without encryption
    ///
    /// The current secret must be configured. Remove it from the configuration afterwards:
    /// the next start with it encrypts them again.
    Decrypt,
}

pub(super) fn run(command: KeysCommand, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| match command {
        KeysCommand::List { json } => {
            let keys = accounts::list_keys(&app, Administrator::Operator)
                .await
                .map_err(describe)?;
            list(&keys, json).map_err(cannot_write)
        }
        KeysCommand::Rotate { algorithm } => {
            if let (Some(set), Some(wanted)) = (app.config.tokens.algorithm, algorithm)
                && set != wanted
            {
                return Err(format!(
                    "[tokens] algorithm is {set}, so the next start would rotate to it again; set \
                     it to {wanted} instead"
                ));
            }
            let kid =
                accounts::rotate_keys(&app, Administrator::Operator, algorithm, &Fields::form())
                    .await
                    .map_err(describe)?;
            writeln!(io::stdout(), "{kid}").map_err(cannot_write)
        }
        KeysCommand::Remove { kid } => match accounts::remove_key(&app, &kid).await {
            Err(AccountError::NotFound) => Err(format!(
                "there is no retired key {kid}; `keys list` shows all keys, and `keys rotate` \
                 retires the current one"
            )),
            outcome => outcome.map_err(describe),
        },
        KeysCommand::Reencrypt => {
            if !app.keys.sealing().is_on() {
                return Err("the keys are not encrypted; the next start with [tokens] \
                     key_encryption_secret set encrypts them"
                    .into());
            }
            let secret = read_secret("New secret: ")?;
            if secret.chars().count() < MIN_KEY_SECRET_CHARS {
                return Err(format!(
                    "the secret is too short: at least {MIN_KEY_SECRET_CHARS} characters, such as \
                     the output of `openssl rand -base64 32`"
                ));
            }
            accounts::reseal_keys(&app, &KeySealing::new(&secret))
                .await
                .map_err(describe)
        }
        KeysCommand::Decrypt => accounts::reseal_keys(&app, &KeySealing::new(""))
            .await
            .map_err(describe),
    })
}

/// What a key signs: tokens of the account API, or of OAuth clients.
fn usage(key: &KeyInfo) -> &'static str {
    if key.is_for_clients {
        "clients"
    } else {
        "accounts"
    }
}

/// Parses the name of an algorithm.
fn algorithms() -> impl TypedValueParser<Value = SigningAlgorithm> {
    PossibleValuesParser::new(SigningAlgorithm::ALL.map(SigningAlgorithm::as_str))
        .map(|name| SigningAlgorithm::parse(&name).expect("clap accepts these names only"))
}

fn list(keys: &[KeyInfo], json: bool) -> io::Result<()> {
    let mut out = io::stdout();
    if json {
        for key in keys {
            let record = json!({
                "kid": key.kid, "algorithm": key.algorithm, "usage": usage(key), "created_at": key.created_at,
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
        "USAGE",
        "CREATED",
        "SIGNS",
        "VALID UNTIL",
        "ENCRYPTED",
    ]);
    for key in keys {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.add_row([
            key.kid.clone(),
            key.algorithm.clone(),
            usage(key).to_owned(),
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
