//! `webhook`: manages where events are sent.

use std::io::{self, BufWriter, Write};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::user::{plain_table, set_padding};
use super::{
    CommandResult, cannot_write, describe, printable, require_database, unless_closed, with_app,
};
use crate::accounts::{self, AccountError, Administrator, WebhookInfo, WebhookWithSecret};
use crate::app::App;
use crate::config::Config;
use crate::domain::{DeliveryStatus, Fields, Input, WebhookPayload};
use crate::store::{PageRequest, WebhookDelivery, WebhookDeliveryQuery};

const OPERATOR: Administrator<'static> = Administrator::Operator;

/// Deliveries that `show` prints.
const SHOWN: u32 = 20;

const ADD_HELP: &str = "\
Examples:
  accounts-server --db users.db webhook add https://crm.example.com/hooks
  accounts-server --db users.db webhook add https://crm.example.com/hooks \\
      --events user.created,user.deleted,session.* --description CRM --payload thin

Receivers verify with the secret, or with the public key: docs/WEBHOOKS.md has code for them.";

#[derive(Subcommand)]
pub(super) enum WebhookCommand {
    /// Add a webhook and print its number and its secret, which is shown this once
    ///
    /// From now on events are sent to the URL, signed with the secret, by the running server. All
    /// staff is notified by mail.
    #[command(after_help = ADD_HELP)]
    Add(AddArguments),
    /// List the webhooks, those of the configuration file included
    List {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Show a webhook and its last 20 deliveries
    ///
    /// A delivery is pending, delivered, failed (it is tried again) or dead (it is not tried again,
    /// unless it is replayed).
    Show {
        /// Number of the webhook, as shown by `webhook list`
        id: i64,
        /// Only deliveries with this status
        #[arg(long, value_parser = statuses())]
        status: Option<DeliveryStatus>,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a test event and print the number of its delivery
    ///
    /// The running server sends it. `webhook show` tells the outcome.
    Test {
        /// Number of the webhook
        id: i64,
    },
    /// Replace the secret of a webhook and print the new one, which is shown this once
    ///
    /// For 24 hours requests are signed with both secrets: change the receiver meanwhile.
    RotateSecret {
        /// Number of the webhook
        id: i64,
    },
    /// Send events again: single deliveries, or all since a time that were not delivered
    Replay(ReplayArguments),
    /// Enable a webhook that somebody or the server has disabled
    Enable {
        /// Number of the webhook
        id: i64,
    },
    /// Disable a webhook: nothing is sent to it, and what waits is given up
    Disable {
        /// Number of the webhook
        id: i64,
    },
    /// Remove a webhook with its deliveries
    Remove {
        /// Number of the webhook
        id: i64,
    },
}

#[derive(Args)]
pub(super) struct AddArguments {
    /// Where events are sent: an https URL whose host has public addresses
    url: String,
    /// Types of events, all of a group such as user.*, or * for everything
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "*")]
    events: Vec<String>,
    /// What it is for
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    description: String,
    /// What is sent of an account: all of it as it was at that moment, or ids alone
    #[arg(long, default_value = "full", value_parser = payloads())]
    payload: String,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ReplayArguments {
    /// Number of the webhook
    id: i64,
    /// Numbers of deliveries, as shown by `webhook show`
    #[arg(value_name = "DELIVERY", required_unless_present = "since")]
    deliveries: Vec<i64>,
    /// All events since this time that were not delivered, such as 2025-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "deliveries")]
    since: Option<String>,
}

fn payloads() -> PossibleValuesParser {
    PossibleValuesParser::new(WebhookPayload::ALL.map(WebhookPayload::as_str))
}

fn statuses() -> impl TypedValueParser<Value = DeliveryStatus> {
    PossibleValuesParser::new(DeliveryStatus::ALL.map(DeliveryStatus::as_str))
        .map(|name| DeliveryStatus::parse(&name).expect("clap accepts these names only"))
}

pub(super) fn run(command: WebhookCommand, config: Config) -> CommandResult {
    with_app(require_database(config)?, async |app| match command {
        WebhookCommand::Add(arguments) => add(&app, arguments).await,
        WebhookCommand::List { json } => {
            let webhooks = accounts::list_webhooks(&app, OPERATOR)
                .await
                .map_err(describe)?;
            unless_closed(list(&webhooks, json))
        }
        WebhookCommand::Show { id, status, json } => show(&app, id, status, json).await,
        WebhookCommand::Test { id } => {
            let tested = accounts::test_webhook(&app, OPERATOR, id).await;
            let number = tested.map_err(|error| about(id, error))?;
            writeln!(io::stdout(), "{number}").map_err(cannot_write)
        }
        WebhookCommand::RotateSecret { id } => {
            let rotated = accounts::rotate_webhook_secret(&app, OPERATOR, id).await;
            let rotated = rotated.map_err(|error| about(id, error))?;
            writeln!(io::stdout(), "{}", rotated.secret).map_err(cannot_write)
        }
        WebhookCommand::Replay(arguments) => replay(&app, &arguments).await,
        WebhookCommand::Enable { id } => set_enabled(&app, id, true).await,
        WebhookCommand::Disable { id } => set_enabled(&app, id, false).await,
        WebhookCommand::Remove { id } => accounts::delete_webhook(&app, OPERATOR, id)
            .await
            .map_err(|error| about(id, error)),
    })
}

async fn add(app: &App, arguments: AddArguments) -> CommandResult {
    // A form has a list as a repeated field.
    let mut fields = Fields::form();
    let mut insert = |name: &str, text: String| fields.insert(name.into(), Input::Text(text));
    insert("url", arguments.url);
    insert("description", arguments.description);
    insert("payload", arguments.payload);
    for event in arguments.events {
        insert("events", event.trim().to_owned());
    }
    let added = accounts::create_webhook(app, OPERATOR, &fields)
        .await
        .map_err(describe)?;
    let WebhookWithSecret { webhook, secret } = added;
    let mut out = io::stdout();
    if arguments.json {
        let mut record = record(&webhook);
        record["secret"] = json!(secret);
        return writeln!(out, "{record}").map_err(cannot_write);
    }
    writeln!(out, "webhook {}\nsecret {secret}", webhook.id).map_err(cannot_write)
}

async fn set_enabled(app: &App, id: i64, is_enabled: bool) -> CommandResult {
    let mut fields = Fields::json();
    fields.insert("is_enabled".into(), Input::Bool(is_enabled));
    accounts::update_webhook(app, OPERATOR, id, &fields)
        .await
        .map(drop)
        .map_err(|error| about(id, error))
}

async fn replay(app: &App, arguments: &ReplayArguments) -> CommandResult {
    let id = arguments.id;
    let count = if let Some(since) = &arguments.since {
        let mut fields = Fields::form();
        fields.insert("since".into(), Input::Text(since.clone()));
        accounts::recover_webhook(app, OPERATOR, id, &fields)
            .await
            .map_err(|error| about(id, error))?
    } else {
        for delivery in &arguments.deliveries {
            let replayed = accounts::replay_webhook_delivery(app, OPERATOR, id, *delivery).await;
            replayed.map_err(|error| match error {
                AccountError::NotFound => format!(
                    "webhook {id} has no delivery {delivery}; `webhook show {id}` shows the last ones"
                ),
                other => about(id, other),
            })?;
        }
        arguments.deliveries.len() as u64
    };
    let events = if count == 1 { "event is" } else { "events are" };
    writeln!(io::stdout(), "{count} {events} due now").map_err(cannot_write)
}

async fn show(app: &App, id: i64, status: Option<DeliveryStatus>, as_json: bool) -> CommandResult {
    let webhook = accounts::find_webhook(app, OPERATOR, id)
        .await
        .map_err(|error| about(id, error))?;
    let query = WebhookDeliveryQuery {
        webhook_id: id,
        status,
        page: PageRequest::Number(1),
        page_size: SHOWN,
    };
    let page = accounts::list_webhook_deliveries(app, OPERATOR, query)
        .await
        .map_err(|error| about(id, error))?;
    unless_closed(write_one(&webhook, &page.items, as_json))
}

/// An error about a webhook, with what to do.
fn about(id: i64, error: AccountError) -> String {
    match error {
        AccountError::NotFound => {
            format!("there is no webhook {id}; `webhook list` shows all")
        }
        AccountError::WebhookFromFile => format!(
            "webhook {id} is set in the configuration file; change it there and reload the server"
        ),
        AccountError::WebhookDisabled => {
            format!("webhook {id} is disabled; `webhook enable {id}` enables it")
        }
        other => describe(other),
    }
}

fn record(webhook: &WebhookInfo) -> Value {
    json!({
        "id": webhook.id, "url": webhook.url, "events": webhook.events.entries(),
        "description": webhook.description, "payload": webhook.payload,
        "is_enabled": webhook.disabled.is_none(),
        "disabled_at": webhook.disabled.map(|(at, _)| at),
        "disabled_reason": webhook.disabled.map(|(_, reason)| reason),
        "failing_since": webhook.failing_since, "is_from_file": webhook.is_from_file,
        "public_key": webhook.public_key, "previous_secret_until": webhook.former_until,
        "created_at": webhook.created_at, "updated_at": webhook.updated_at,
    })
}

fn delivery_record(delivery: &WebhookDelivery) -> Value {
    json!({
        "id": delivery.id, "event": delivery.event, "user_id": delivery.user_id,
        "status": delivery.status, "tries": delivery.tries, "reason": delivery.problem,
        "status_code": delivery.status_code,
        "answer": String::from_utf8_lossy(&delivery.answer),
        "created_at": delivery.created_at, "last_try_at": delivery.last_try_at,
        "next_try_at": delivery.next_try_at, "finished_at": delivery.closed_at,
    })
}

/// The state of a webhook in a word or two.
fn state(webhook: &WebhookInfo) -> String {
    match (webhook.disabled, webhook.failing_since) {
        (Some((_, reason)), _) => format!("disabled ({})", reason.as_str()),
        (None, Some(_)) => "failing".to_owned(),
        (None, None) => "active".to_owned(),
    }
}

fn list(webhooks: &[WebhookInfo], as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        for webhook in webhooks {
            writeln!(out, "{}", record(webhook))?;
        }
        return out.flush();
    }
    let mut table = plain_table();
    table.set_header(["ID", "URL", "EVENTS", "STATE", "FROM FILE", "DESCRIPTION"]);
    for webhook in webhooks {
        table.add_row([
            webhook.id.to_string(),
            printable(&webhook.url).into_owned(),
            webhook.events.entries().join(", "),
            state(webhook),
            if webhook.is_from_file { "yes" } else { "no" }.to_owned(),
            printable(&webhook.description).into_owned(),
        ]);
    }
    set_padding(&mut table);
    writeln!(out, "{}", table.trim_fmt())?;
    out.flush()
}

fn write_one(
    webhook: &WebhookInfo,
    deliveries: &[WebhookDelivery],
    as_json: bool,
) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        let mut record = record(webhook);
        record["deliveries"] = deliveries.iter().map(delivery_record).collect();
        writeln!(out, "{record}")?;
        return out.flush();
    }
    for (name, value) in [
        ("url", printable(&webhook.url).into_owned()),
        ("events", webhook.events.entries().join(", ")),
        ("description", printable(&webhook.description).into_owned()),
        ("payload", webhook.payload.as_str().to_owned()),
        ("state", state(webhook)),
        ("public key", webhook.public_key.clone()),
        ("created", webhook.created_at.to_string()),
    ] {
        writeln!(out, "{name:12} {value}")?;
    }
    let mut table = plain_table();
    table.set_header([
        "ID", "EVENT", "USER", "STATUS", "TRIES", "CODE", "CREATED", "REASON",
    ]);
    for delivery in deliveries {
        table.add_row([
            delivery.id.to_string(),
            printable(&delivery.event).into_owned(),
            delivery
                .user_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
            delivery.status.to_string(),
            delivery.tries.to_string(),
            delivery
                .status_code
                .map(|code| code.to_string())
                .unwrap_or_default(),
            delivery.created_at.to_string(),
            printable(&delivery.problem).into_owned(),
        ]);
    }
    set_padding(&mut table);
    writeln!(out, "\n{}", table.trim_fmt())?;
    out.flush()
}
