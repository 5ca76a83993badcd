//! `audit`: shows the audit log.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{CommandResult, describe, printable, require_database, unless_closed, with_app};
use crate::accounts::{self, Administrator};
use crate::app::App;
use crate::config::Config;
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{Event, EventFilter, EventQuery};

/// Pause between polls of `--follow`.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Most new entries of one poll of `--follow`.
const FOLLOW_LIMIT: u32 = 10_000;

#[derive(Args)]
pub(super) struct AuditArguments {
    /// Only entries about this account (id or email address; the id of a deleted account works too)
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only entries that this account caused (id or email address)
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// Only this kind of event, such as sign_in_failed; repeatable. `audit --kinds` lists them
    #[arg(long = "event", value_name = "EVENT", value_parser = read_kind)]
    events: Vec<EventKind>,
    /// Only entries since then: an age such as 90s, 30m, 12h or 7d, or a time such as 2026-01-31 or
    /// 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only entries before then, in the same forms
    #[arg(long, value_name = "WHEN", conflicts_with = "follow")]
    until: Option<String>,
    /// Show at most this many of the newest entries; 0 shows all
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
    /// Keep printing new entries until interrupted
    #[arg(long)]
    follow: bool,
    /// List the kinds of events with their meaning
    #[arg(long)]
    kinds: bool,
}

fn read_kind(name: &str) -> Result<EventKind, String> {
    EventKind::parse(name).ok_or_else(|| "unknown event; `audit --kinds` lists them".into())
}

/// An entry as `--json` prints it.
#[derive(Serialize)]
struct EventRecord<'a> {
    id: i64,
    at: Timestamp,
    event: EventKind,
    user_id: Option<UserId>,
    actor_id: Option<UserId>,
    operator: &'a str,
    ip: &'a str,
    user_agent: &'a str,
    detail: &'a str,
    reason: &'a str,
    count: u64,
    last_at: Timestamp,
}

pub(super) fn run(arguments: AuditArguments, config: Config) -> CommandResult {
    if arguments.kinds {
        return unless_closed(list_kinds());
    }
    with_app(require_database(config)?, async |app| {
        show(&app, &arguments).await
    })
}

fn list_kinds() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for kind in EventKind::ALL {
        writeln!(out, "{:<25} {}", kind.as_str(), kind.about())?;
    }
    Ok(())
}

async fn show(app: &App, arguments: &AuditArguments) -> CommandResult {
    let moment = |option: &str, text: &Option<String>| match text {
        Some(text) => read_moment(option, text, app.clock.now()).map(Some),
        None => Ok(None),
    };
    let mut query = EventQuery {
        filter: EventFilter {
            user_id: find_id(app, arguments.user.as_deref()).await?,
            actor_id: find_id(app, arguments.actor.as_deref()).await?,
            kinds: arguments.events.clone(),
            since: moment("--since", &arguments.since)?,
            before: moment("--until", &arguments.until)?,
        },
        after: 0,
        below: None,
        limit: match arguments.limit {
            0 => u32::MAX,
            limit => limit,
        },
    };
    loop {
        let (events, unlisted) = accounts::list_events(app, Administrator::Operator, query.clone())
            .await
            .map_err(describe)?;
        if let Err(error) = write(&events, arguments.json) {
            return unless_closed(Err(error));
        }
        if query.after == 0 && unlisted > 0 {
            log::warn!(
                "{unlisted} more failed attempts in this period were only counted, not recorded \
                 one by one"
            );
        }
        if !arguments.follow {
            return Ok(());
        }
        query.after = events.last().map_or(query.after.max(1), |last| last.id);
        query.limit = FOLLOW_LIMIT;
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

/// The id of the account. A deleted account can only be named by its id.
async fn find_id(app: &App, user: Option<&str>) -> Result<Option<UserId>, String> {
    let Some(user) = user else { return Ok(None) };
    if let Ok(id) = user.parse() {
        return Ok(Some(id));
    }
    let found = accounts::find_user(app, user).await.map_err(describe)?;
    Ok(Some(found.id))
}

fn write(events: &[Event], json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for event in events {
        if json {
            serde_json::to_writer(&mut out, &record(event))?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(event))?;
        }
    }
    out.flush()
}

fn record(event: &Event) -> EventRecord<'_> {
    let context = &event.context;
    EventRecord {
        id: event.id,
        at: event.happened_at,
        event: event.kind,
        user_id: event.user_id,
        actor_id: context.actor_id,
        operator: &context.operator,
        ip: &context.ip,
        user_agent: &context.user_agent,
        detail: &event.detail,
        reason: &context.reason,
        count: event.count,
        last_at: event.last_at,
    }
}

/// One entry as a line of text: time, event, user, actor, network, detail, reason.
fn line(event: &Event) -> String {
    let context = &event.context;
    let mut line = format!("{}  {:<24}", event.happened_at, event.kind.as_str());
    if let Some(user) = event.user_id {
        line.push_str(&format!("  user {user}"));
    }
    if let Some(actor) = context
        .actor_id
        .filter(|actor| Some(*actor) != event.user_id)
    {
        line.push_str(&format!("  by user {actor}"));
    }
    if !context.operator.is_empty() {
        line.push_str(&format!(
            "  by {} on this machine",
            printable(&context.operator)
        ));
    }
    if !context.ip.is_empty() {
        line.push_str(&format!("  from {}", context.ip));
    }
    if event.count > 1 {
        line.push_str(&format!("  {} times until {}", event.count, event.last_at));
    }
    if !event.detail.is_empty() {
        line.push_str(&format!("  ({})", printable(&event.detail)));
    }
    if !context.reason.is_empty() {
        line.push_str(&format!("  because: {}", printable(&context.reason)));
    }
    if !context.user_agent.is_empty() {
        line.push_str(&format!("  \"{}\"", printable(&context.user_agent)));
    }
    line.trim_end().to_owned()
}

/// Parses a time, or an age relative to `now`.
fn read_moment(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let age = text
        .char_indices()
        .last()
        .and_then(|(at, unit)| {
            let seconds = match unit {
                's' => 1,
                'm' => 60,
                'h' => 60 * 60,
                'd' => 24 * 60 * 60,
                _ => return None,
            };
            text[..at].parse::<u64>().ok()?.checked_mul(seconds)
        })
        .map(Duration::from_secs);
    if let Some(age) = age {
        return Ok(now.minus(age));
    }
    accounts::parse_moment(text).ok_or_else(|| {
        format!(
            "{option} {text}: expected an age such as 12h or 7d, or a time such as \
            2026-01-31T12:00:00Z"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times_are_parsed() {
        let now = Timestamp::from_unix_millis(1_733_227_200_000);
        for (text, moment) in [
            ("90s", Some("2024-12-03T11:58:30Z")),
            ("30m", Some("2024-12-03T11:30:00Z")),
            ("12h", Some("2024-12-03T00:00:00Z")),
            ("7d", Some("2024-11-26T12:00:00Z")),
            ("2024-12-01", Some("2024-12-01T00:00:00Z")),
            ("2024-12-01T10:00:00+02:00", Some("2024-12-01T08:00:00Z")),
            ("", None),
            ("d", None),
            ("-1d", None),
            ("7 d", None),
            ("yesterday", None),
            ("7\u{e4}", None),
        ] {
            let read = read_moment("--since", text, now)
                .ok()
                .map(|moment| moment.to_string());
            assert_eq!(read.as_deref(), moment, "{text:?}");
        }
    }
}
