//! `client`: manages the applications in which users sign in with their account here.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::user::{plain_table, set_padding};
use super::{
    CommandResult, cannot_write, describe, printable, require_database, unless_closed, with_app,
};
use crate::accounts::{self, AccountError, Administrator, ClientWithSecret};
use crate::app::App;
use crate::bootstrap::read_secret;
use crate::config::Config;
use crate::domain::{Fields, Input, OAuthClient, RedirectUri, Scope, SigningAlgorithm};
use crate::observability::error_chain;

const OPERATOR: Administrator<'static> = Administrator::Operator;

const ADD_HELP: &str = "\
Examples:
  A web application, which gets a secret:
  accounts-server --db users.db client add --id grafana --name Grafana \\
      --redirect-uris https://grafana.example.com/login/generic_oauth --consent false

  An application on phones and computers, which cannot keep one:
  accounts-server --db users.db client add --name 'My App' --public \\
      --redirect-uris com.example.app:/callback --redirect-uris http://127.0.0.1/callback \\
      --scopes openid,email,offline_access

Redirect URIs have to match exactly, but for the port on 127.0.0.1 and [::1]. The application needs \
the id, the secret, and the URL of this server as issuer; docs/OPENID_PROVIDER.md has more.";

#[derive(Subcommand)]
pub(super) enum ClientCommand {
    /// Add a client and print its id and its secret, which is shown this once
    ///
    /// A running server knows it at once.
    #[command(after_help = ADD_HELP)]
    Add(AddArguments),
    /// List the clients, those of the configuration file included
    List {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Show a client
    Show {
        /// Id of the client, as shown by `client list`
        id: String,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the secret of a client and print the new one, which is shown this once
    ///
    /// The former secret is invalid at once, so change the application right after. Users stay
    /// signed in there.
    RotateSecret {
        /// Id of the client
        id: String,
        /// File with a secret of your own: at least 32 random characters
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a client: its users are signed out there, and their consents are forgotten
    Remove {
        /// Id of the client
        id: String,
    },
}

#[derive(Args)]
pub(super) struct AddArguments {
    /// Its client_id: letters, digits and -._~. By default a random one
    #[arg(long)]
    id: Option<String>,
    /// What users see
    #[arg(long)]
    name: String,
    /// File with a secret of your own: at least 32 random characters. By default one is made
    #[arg(long, value_name = "FILE", conflicts_with = "public")]
    secret_file: Option<PathBuf>,
    /// Without a secret: an application on phones, computers or in browsers
    #[arg(long)]
    public: bool,
    /// Where answers may be sent: https, http on 127.0.0.1, [::1] and localhost, or a scheme of the
    /// application such as com.example.app:/callback. Can be repeated
    #[arg(long, value_name = "URI", required = true)]
    redirect_uris: Vec<String>,
    /// Where browsers may be sent after signing out. Can be repeated
    #[arg(long, value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// What it may ask for
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "openid,profile,email",
        value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str))
    )]
    scopes: Vec<String>,
    /// Whether users are asked the first time; false for applications of your own
    ///
    /// Clients on loopback or with a scheme of their own ask in any case, because other programs
    /// could pretend to be them.
    #[arg(
        long,
        value_name = "true|false",
        default_value = "true",
        value_parser = BoolishValueParser::new(),
        action = clap::ArgAction::Set
    )]
    consent: bool,
    /// Algorithm that signs its tokens
    #[arg(
        long,
        value_name = "ALGORITHM",
        default_value = "RS256",
        value_parser = PossibleValuesParser::new(SigningAlgorithm::ALL.map(SigningAlgorithm::as_str))
    )]
    id_token_alg: String,
    /// Lifetime of access and ID tokens, 1 to 1440
    #[arg(long, value_name = "MINUTES", default_value = "5")]
    access_minutes: u32,
    /// Lifetime of an unused refresh token, 1 to 365
    #[arg(long, value_name = "DAYS", default_value = "30")]
    refresh_days: u32,
    /// Maximum age of sessions with the scope offline_access, 1 to 3650
    #[arg(long, value_name = "DAYS", default_value = "365")]
    session_days: u32,
    /// Only staff may sign in there
    #[arg(long)]
    staff_only: bool,
    /// Users need a second factor to sign in there
    #[arg(long)]
    require_mfa: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: ClientCommand, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| match command {
        ClientCommand::Add(arguments) => add(&app, arguments).await,
        ClientCommand::List { json } => {
            let clients = accounts::list_oauth_clients(&app, OPERATOR)
                .await
                .map_err(describe)?;
            unless_closed(list(&clients, json))
        }
        ClientCommand::Show { id, json } => {
            let found = accounts::find_oauth_client(&app, OPERATOR, &id).await;
            let client = found.map_err(|error| about(&id, error))?;
            let sessions = accounts::count_oauth_client_sessions(&app, OPERATOR, &id)
                .await
                .map_err(describe)?;
            unless_closed(write_one(&client, sessions, json))
        }
        ClientCommand::RotateSecret {
            id,
            secret_file,
            json,
        } => {
            let mut fields = Fields::form();
            insert_secret(&mut fields, secret_file.as_deref())?;
            let rotated = accounts::rotate_oauth_client_secret(&app, OPERATOR, &id, &fields).await;
            print_secret(&rotated.map_err(|error| about(&id, error))?, json)
        }
        ClientCommand::Remove { id } => {
            accounts::delete_oauth_client(&app, OPERATOR, &id, &Fields::form())
                .await
                .map_err(|error| about(&id, error))
        }
    })
}

async fn add(app: &App, arguments: AddArguments) -> CommandResult {
    // A form has a list as a repeated field.
    let mut fields = Fields::form();
    insert_secret(&mut fields, arguments.secret_file.as_deref())?;
    let mut insert = |name: &str, text: String| fields.insert(name.into(), Input::Text(text));
    if let Some(id) = arguments.id {
        insert("id", id);
    }
    insert("name", arguments.name);
    for (name, values) in [
        ("redirect_uris", arguments.redirect_uris),
        (
            "post_logout_redirect_uris",
            arguments.post_logout_redirect_uris,
        ),
        ("scopes", arguments.scopes),
    ] {
        for value in values {
            insert(name, value);
        }
    }
    insert("id_token_alg", arguments.id_token_alg);
    for (name, number) in [
        ("access_minutes", arguments.access_minutes),
        ("refresh_days", arguments.refresh_days),
        ("session_days", arguments.session_days),
    ] {
        insert(name, number.to_string());
    }
    for (name, is_on) in [
        ("public", arguments.public),
        ("consent", arguments.consent),
        ("staff_only", arguments.staff_only),
        ("require_mfa", arguments.require_mfa),
    ] {
        insert(name, is_on.to_string());
    }
    let added = accounts::create_oauth_client(app, OPERATOR, &fields)
        .await
        .map_err(describe)?;
    print_secret(&added, arguments.json)
}

/// Takes a chosen secret from a file.
fn insert_secret(fields: &mut Fields, file: Option<&Path>) -> CommandResult {
    if let Some(path) = file {
        let secret = read_secret("--secret-file", path).map_err(|e| error_chain(&e))?;
        fields.insert("secret".into(), Input::Text(secret));
    }
    Ok(())
}

fn print_secret(made: &ClientWithSecret, as_json: bool) -> CommandResult {
    let mut out = io::stdout();
    let ClientWithSecret { client, secret } = made;
    if as_json {
        let mut record = record(client);
        record["secret"] = json!(secret);
        return writeln!(out, "{record}").map_err(cannot_write);
    }
    let secret = secret.as_ref();
    let secret = secret.map_or_else(String::new, |secret| format!("secret {secret}\n"));
    write!(out, "client {}\n{secret}", client.id).map_err(cannot_write)
}

/// An error about a client, with what to do.
fn about(id: &str, error: AccountError) -> String {
    let id = printable(id);
    match error {
        AccountError::NotFound => format!("there is no client {id}; `client list` shows all"),
        AccountError::ClientFromFile => format!(
            "client {id} is set in the configuration file; change it there and reload the server"
        ),
        AccountError::ClientIsPublic => {
            format!("client {id} is public, so it has no secret; add another one with a secret")
        }
        other => describe(other),
    }
}

fn texts(uris: &[RedirectUri]) -> Vec<&str> {
    uris.iter().map(RedirectUri::as_str).collect()
}

fn record(client: &OAuthClient) -> Value {
    let settings = &client.settings;
    json!({
        "id": client.id, "name": settings.name, "public": !client.is_confidential(),
        "redirect_uris": texts(&settings.redirect_uris),
        "post_logout_redirect_uris": texts(&settings.post_logout_redirect_uris),
        "scopes": settings.scopes, "consent": settings.asks_for_consent(),
        "id_token_alg": settings.id_token_alg.as_str(),
        "access_minutes": settings.access_minutes, "refresh_days": settings.refresh_days,
        "session_days": settings.session_days, "staff_only": settings.is_staff_only,
        "require_mfa": settings.requires_mfa, "is_from_file": client.is_from_file,
        "created_at": client.created_at, "updated_at": client.updated_at,
    })
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn list(clients: &[OAuthClient], as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        for client in clients {
            writeln!(out, "{}", record(client))?;
        }
        return out.flush();
    }
    let mut table = plain_table();
    table.set_header([
        "ID",
        "NAME",
        "PUBLIC",
        "CONSENT",
        "FROM FILE",
        "REDIRECT URIS",
    ]);
    for client in clients {
        table.add_row([
            client.id.clone(),
            printable(&client.settings.name).into_owned(),
            yes_or_no(!client.is_confidential()),
            yes_or_no(client.settings.asks_for_consent()),
            yes_or_no(client.is_from_file),
            texts(&client.settings.redirect_uris).join(", "),
        ]);
    }
    set_padding(&mut table);
    writeln!(out, "{}", table.trim_fmt())?;
    out.flush()
}

fn write_one(client: &OAuthClient, sessions: u64, as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        let mut record = record(client);
        record["sessions"] = json!(sessions);
        writeln!(out, "{record}")?;
        return out.flush();
    }
    let settings = &client.settings;
    for (name, value) in [
        ("id", client.id.clone()),
        ("name", printable(&settings.name).into_owned()),
        ("public", yes_or_no(!client.is_confidential())),
        ("redirect URIs", texts(&settings.redirect_uris).join(", ")),
        (
            "after sign-out",
            texts(&settings.post_logout_redirect_uris).join(", "),
        ),
        ("scopes", settings.scopes.names().join(", ")),
        ("consent", yes_or_no(settings.asks_for_consent())),
        ("algorithm", settings.id_token_alg.to_string()),
        ("access", format!("{} minutes", settings.access_minutes)),
        ("refresh", format!("{} days", settings.refresh_days)),
        ("session", format!("{} days", settings.session_days)),
        ("staff only", yes_or_no(settings.is_staff_only)),
        ("second factor", yes_or_no(settings.requires_mfa)),
        ("from file", yes_or_no(client.is_from_file)),
        ("sessions", sessions.to_string()),
        ("created", client.created_at.to_string()),
        ("changed", client.updated_at.to_string()),
    ] {
        writeln!(out, "{}", format!("{name:15}{value}").trim_end())?;
    }
    out.flush()
}
