//! `mail list`, `mail retry` and `mail drop`: the mail queue.

use std::io::{self, BufWriter, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::user::{plain_table, set_padding};
use super::{
    CommandResult, cannot_write, describe, printable, require_database, unless_closed, with_app,
};
use crate::accounts::{self, AccountError, Administrator};
use crate::app::App;
use crate::config::Config;
use crate::domain::MailState;
use crate::store::{MailEntry, MailQuery, PageRequest};

/// Mails read at a time.
const CHUNK: u32 = 500;

#[derive(Args)]
pub(super) struct ListArguments {
    /// Only mails in this state
    #[arg(long, value_parser = states())]
    state: Option<MailState>,
    /// Only mails whose recipient contains this text
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    search: String,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ChangeArguments {
    /// Numbers of the mails, as shown by `mail list`
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<i64>,
    /// All mails that were refused
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

fn states() -> impl TypedValueParser<Value = MailState> {
    PossibleValuesParser::new(MailState::ALL.map(MailState::as_str))
        .map(|name| MailState::parse(&name).expect("clap accepts these names only"))
}

pub(super) fn list(arguments: ListArguments, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| {
        let mails = read_all(&app, arguments.state, &arguments.search).await?;
        unless_closed(write(&mails, arguments.json))
    })
}

pub(super) fn retry(arguments: &ChangeArguments, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| {
        let mut retried = 0;
        for id in chosen(&app, arguments).await? {
            match accounts::retry_mail(&app, Administrator::Operator, id).await {
                Ok(_) => retried += 1,
                Err(AccountError::MailExpired) if arguments.all => {}
                Err(AccountError::MailExpired) => {
                    return Err(format!(
                        "mail {id} has expired and can no longer be sent; its code or link is dead"
                    ));
                }
                Err(error) => return Err(describe_unknown(id, error)),
            }
        }
        report(retried, "due now")
    })
}

pub(super) fn discard(arguments: &ChangeArguments, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| {
        let ids = chosen(&app, arguments).await?;
        for id in &ids {
            accounts::discard_mail(&app, Administrator::Operator, *id)
                .await
                .map_err(|error| describe_unknown(*id, error))?;
        }
        report(ids.len(), "discarded")
    })
}

/// The mails that the arguments name.
async fn chosen(app: &App, arguments: &ChangeArguments) -> Result<Vec<i64>, String> {
    if !arguments.all {
        return Ok(arguments.ids.clone());
    }
    let failed = read_all(app, Some(MailState::Failed), "").await?;
    Ok(failed.iter().map(|mail| mail.id).collect())
}

async fn read_all(
    app: &App,
    state: Option<MailState>,
    search: &str,
) -> Result<Vec<MailEntry>, String> {
    let mut mails = Vec::new();
    let mut number = 1;
    loop {
        let query = MailQuery {
            state,
            user_id: None,
            search: search.to_owned(),
            page: PageRequest::Number(number),
            page_size: CHUNK,
        };
        match accounts::list_mails(app, Administrator::Operator, query).await {
            Ok(page) => {
                mails.extend(page.items);
                if number >= page.pages {
                    return Ok(mails);
                }
                number += 1;
            }
            // The queue has become shorter meanwhile.
            Err(AccountError::InvalidPage) => return Ok(mails),
            Err(error) => return Err(describe(error)),
        }
    }
}

fn describe_unknown(id: i64, error: AccountError) -> String {
    match error {
        AccountError::NotFound => {
            format!("there is no mail {id} in the queue; `mail list` shows all")
        }
        other => describe(other),
    }
}

fn report(count: usize, what: &str) -> CommandResult {
    let mails = if count == 1 { "mail is" } else { "mails are" };
    writeln!(io::stdout(), "{count} {mails} {what}").map_err(cannot_write)
}

fn write(mails: &[MailEntry], as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        for mail in mails {
            let record = json!({
                "id": mail.id, "user_id": mail.user_id, "recipient": mail.email, "kind": mail.kind,
                "state": mail.state, "reason": mail.problem, "tries": mail.tries,
                "created_at": mail.created_at, "last_try_at": mail.last_try_at,
                "next_try_at": mail.next_try_at, "expires_at": mail.expires_at,
            });
            writeln!(out, "{record}")?;
        }
        return out.flush();
    }
    let mut table = plain_table();
    table.set_header([
        "ID",
        "RECIPIENT",
        "KIND",
        "STATE",
        "TRIES",
        "CREATED",
        "REASON",
    ]);
    for mail in mails {
        table.add_row([
            mail.id.to_string(),
            printable(&mail.email).into_owned(),
            mail.kind.clone(),
            mail.state.to_string(),
            mail.tries.to_string(),
            mail.created_at.to_string(),
            printable(&mail.problem).into_owned(),
        ]);
    }
    set_padding(&mut table);
    writeln!(out, "{}", table.trim_fmt())?;
    out.flush()
}
