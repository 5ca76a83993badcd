//! The paths of `--dev`, for end-to-end tests of other projects and for developers: the inbox, the
//! clock, and the reset to the seed data.
//!
//! They show codes and delete accounts. So they exist only in `--dev`, only for a peer on this
//! machine, only under a loopback `Host` (against DNS rebinding), and not for pages of other
//! origins, which may send a plain `POST` anywhere.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, HOST, HeaderValue, ORIGIN};
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts::forms;
use crate::app::{App, SharedApp};
use crate::dev;
use crate::domain::{FieldReader, Timestamp};
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::pages::inbox as pages;
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::http::{body, client};
use crate::mail::InboxEntry;

/// Whether the paths of `--dev` exist for this request.
pub(crate) fn is_visible(app: &App, request: &Request) -> bool {
    let head = &request.head;
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    app.inbox.is_some()
        && client::is_local(head)
        && more.is_none()
        && host
            .and_then(|host| host.to_str().ok())
            .is_some_and(is_loopback_host)
        && head.headers.get(ORIGIN).is_none_or(is_loopback_origin)
}

fn is_loopback_origin(origin: &HeaderValue) -> bool {
    origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, host)| is_loopback_host(host))
}

fn is_loopback_host(host: &str) -> bool {
    let parts = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']'),
        None => Some(host.split_at(host.find(':').unwrap_or(host.len()))),
    };
    let Some((name, port)) = parts else {
        return false;
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `GET /dev/mail/?to=ADDR`
pub(crate) const INBOX: Operation = Operation {
    id: "listMails",
    tag: Tag::Development,
    summary: "Development inbox",
    description: "The newest 1,000 mails, newest first. A browser (`Accept: text/html`) gets a \
                  page.",
    query: &[Parameter {
        name: "to",
        description: "Only mails to this address, in any case. A `+` is read as a plus sign, \
                      escaped or not.",
        schema: r#"{"type": "string"}"#,
    }],
    answers: &[
        Outcome::json::<Vec<InboxEntry>>(
            200,
            "the mails",
            r#"[{"id": 1, "to": "user@example.com", "from": "accounts-server <accounts@localhost>", "subject": "123456 is your code", "text": "123456", "html": "<p>123456</p>", "otp": "123456", "link": null, "created_at": "2024-12-03T12:00:00Z"}]"#,
        ),
        Outcome::text(200, "the same as a page", "text/html"),
    ],
    ..Operation::NEW
};

/// `GET /dev/mail/?to=ADDR`
pub(crate) async fn inbox(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let inbox = app.inbox.as_ref().ok_or(ApiError::NotFound)?;
    let to = form_urlencoded::parse(request.head.query().as_bytes())
        .filter(|(name, _)| name == "to")
        .last()
        // No address contains a blank, but many a test writes `+` unescaped, which decodes to one.
        .map(|(_, value)| value.trim().replace(' ', "+"))
        .filter(|to| !to.is_empty());
    let mails = inbox.list(to.as_deref());
    let wants_page = request
        .head
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_page {
        return Ok(reply::json(StatusCode::OK, &mails));
    }
    pages::inbox(app, request, to.as_deref(), &mails)
}

/// The time of the server.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Clock")]
struct ClockResponse {
    now: Timestamp,
}

const NOW: &str = r#"{"now": "2024-12-03T12:00:00Z"}"#;

/// `GET /dev/clock/`
pub(crate) const READ_CLOCK: Operation = Operation {
    id: "retrieveClock",
    tag: Tag::Development,
    summary: "Read the clock",
    description: "The current time of the server.",
    answers: &[Outcome::json::<ClockResponse>(200, "the time", NOW)],
    ..Operation::NEW
};

/// `GET /dev/clock/`
pub(crate) async fn clock(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let now = app.clock.now();
    Ok(reply::json(StatusCode::OK, &ClockResponse { now }))
}

/// `POST /dev/clock/`
pub(crate) const ADVANCE_CLOCK: Operation = Operation {
    id: "advanceClock",
    tag: Tag::Development,
    summary: "Move the clock forward",
    description: "OTPs, tokens, links and limits expire without waiting. `POST /dev/reset/` resets \
                  the clock.",
    body: Some(Body {
        form: forms::advance_clock,
        example: r#"{"advance_seconds": 600}"#,
    }),
    answers: &[Outcome::json::<ClockResponse>(200, "the new time", NOW)],
    ..Operation::NEW
};

/// `POST /dev/clock/`
pub(crate) async fn advance_clock(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let mut reader = FieldReader::new(&fields);
    let seconds = forms::read_advance(&mut reader);
    reader.finish().map_err(ApiError::Fields)?;
    let by = Duration::from_secs(seconds.unwrap_or_default());
    let now = dev::advance_clock(app, by)
        .await
        .ok_or_else(|| ApiError::internal("this clock cannot be moved"))?;
    Ok(reply::json(StatusCode::OK, &ClockResponse { now }))
}

/// `POST /dev/reset/`
pub(crate) const RESET: Operation = Operation {
    id: "reset",
    tag: Tag::Development,
    summary: "Reset to the seed data",
    description: "Restores the state after the start and the `--seed`: accounts, ids of new \
                  accounts, and the clock. Mails, sessions, limits and new photos are removed.",
    answers: &[Outcome::nothing(204, "the state is restored")],
    refusals: &[Refusal {
        when: "the database had more than 10,000 accounts at the start",
        error: too_large,
    }],
    ..Operation::NEW
};

fn too_large() -> ApiError {
    ApiError::BadRequest(format!(
        "The database had more than {0} accounts at the start, too many to restore. Start with \
         --ephemeral and a --seed of at most {0} accounts.",
        dev::MOST_KEPT
    ))
}

/// `POST /dev/reset/`
pub(crate) async fn reset(app: &SharedApp, _: &mut Request) -> HandlerResult {
    if dev::reset(app).await? {
        Ok(reply::no_content())
    } else {
        Err(too_large())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_recognised() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "127.1.2.3",
            "[::1]:8000",
            "[::1]",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1:8000",
            "[::2]",
            "[::1].example.com",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
