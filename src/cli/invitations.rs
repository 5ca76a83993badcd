//! `user invite`, `user invitations` and `user revoke-invitation`.

use std::io::{self, BufWriter, Write};

use clap::Args;
use serde_json::json;

use super::user::{plain_table, set_padding};
use super::{
    CommandResult, cannot_write, describe, printable, require_database, unless_closed, with_app,
};
use crate::accounts::{self, AccountError, Administrator};
use crate::app::App;
use crate::config::Config;
use crate::domain::{Fields, Input, Timestamp};
use crate::store::{Invitation, InvitationQuery, PageRequest};

/// Invitations read at a time.
const CHUNK: u32 = 500;

#[derive(Args)]
pub(super) struct InviteArguments {
    /// Email address to invite
    email: String,
    /// Language of the email and of the account, such as de (default: [mail] language)
    #[arg(
        long,
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    language: String,
}

pub(super) fn invite(arguments: InviteArguments, config: Config) -> CommandResult {
    let mut fields = Fields::json();
    fields.insert("email".into(), Input::Text(arguments.email));
    fields.insert("language".into(), Input::Text(arguments.language));
    with_app(config, async |app| {
        let invitation = accounts::invite(&app, Administrator::Operator, &fields)
            .await
            .map_err(|error| match error {
                AccountError::NoInvitationPage => {
                    "invitations need a page for their links: set [server] public_url to an https \
                     address and leave [pages] enabled, or set [mail] invitation_url"
                        .to_owned()
                }
                AccountError::EmailTaken => "this address already has an account".to_owned(),
                AccountError::Throttled(wait) => format!(
                    "this address was invited just now; try again in {} seconds",
                    wait.as_secs().max(1)
                ),
                other => describe(other),
            })?;
        writeln!(io::stdout(), "{}", invitation.id).map_err(cannot_write)
    })
}

pub(super) fn list(as_json: bool, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| {
        let invitations = read_all(&app).await?;
        unless_closed(write(&invitations, as_json, app.clock.now()))
    })
}

pub(super) fn revoke(id: i64, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| {
        accounts::revoke_invitation(&app, Administrator::Operator, id)
            .await
            .map_err(|error| match error {
                AccountError::NotFound => format!(
                    "there is no invitation {id}; `user invitations` lists those that were not \
                     accepted"
                ),
                other => describe(other),
            })
    })
}

async fn read_all(app: &App) -> Result<Vec<Invitation>, String> {
    let mut invitations = Vec::new();
    let mut number = 1;
    loop {
        let query = InvitationQuery {
            search: String::new(),
            page: PageRequest::Number(number),
            page_size: CHUNK,
        };
        match accounts::list_invitations(app, Administrator::Operator, query).await {
            Ok(page) => {
                invitations.extend(page.items);
                if number >= page.pages {
                    return Ok(invitations);
                }
                number += 1;
            }
            // The list has become shorter meanwhile.
            Err(AccountError::InvalidPage) => return Ok(invitations),
            Err(error) => return Err(describe(error)),
        }
    }
}

fn write(invitations: &[Invitation], as_json: bool, now: Timestamp) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let state = |invitation: &Invitation| match invitation.is_expired(now) {
        true => "expired",
        false => "pending",
    };
    if as_json {
        for invitation in invitations {
            let record = json!({
                "id": invitation.id, "email": invitation.email, "language": invitation.language,
                "state": state(invitation), "invited_by": invitation.inviter_id,
                "operator": invitation.operator, "created_at": invitation.created_at,
                "expires_at": invitation.expires_at,
            });
            writeln!(out, "{record}")?;
        }
        return out.flush();
    }
    let mut table = plain_table();
    table.set_header(["ID", "EMAIL", "STATE", "INVITED BY", "CREATED", "EXPIRES"]);
    for invitation in invitations {
        let inviter = match invitation.inviter_id {
            Some(id) => format!("user {id}"),
            None => printable(&invitation.operator).into_owned(),
        };
        table.add_row([
            invitation.id.to_string(),
            printable(&invitation.email).into_owned(),
            state(invitation).to_owned(),
            inviter,
            invitation.created_at.to_string(),
            invitation.expires_at.to_string(),
        ]);
    }
    set_padding(&mut table);
    writeln!(out, "{}", table.trim_fmt())?;
    out.flush()
}
