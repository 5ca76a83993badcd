//! `/console/events/`: the whole audit log, filtered, and as a file.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use minijinja::{Value, context};
use tokio::sync::mpsc::{self, Sender};

use super::users::pairs;
use super::{change, layout, staff};
use crate::accounts::{self, AccountError, Administrator, EventExport};
use crate::app::SharedApp;
use crate::domain::{EventKind, FieldErrors};
use crate::http::api::audit_log::{self, read_filter};
use crate::http::api::pagination::{Parameters, parameters, read_page, value};
use crate::http::pages::form::Problems;
use crate::http::pages::render::PageResult;
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::reply;
use crate::http::request::Request;
use crate::http::spreadsheet::{BYTE_ORDER_MARK, Rows};
use crate::observability::request_id;
use crate::store::{Event, EventFilter, PageRequest};

pub(super) const PATH: &str = "/console/events/";

/// Entries on a page.
const PAGE_SIZE: u32 = 50;

/// The filters, which are those of the API.
const FILTERS: [&str; 5] = ["kind", "user", "actor", "after", BEFORE];

const BEFORE: &str = "before";

/// The length of a date without a time.
const DATE: usize = "2024-12-03".len();

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let parameters = parameters(request.head.query());
    let (filter, problems) = match read(&parameters) {
        Ok(filter) => (filter, Problems::default()),
        Err(errors) => (EventFilter::default(), Problems::of(&visitor, &errors)),
    };
    let is_wrong = !problems.is_empty();
    let by = Administrator::Staff(&session.caller, &visitor.client);
    let list = |page| accounts::list_event_page(app, by, filter.clone(), page, PAGE_SIZE);
    let number = read_page(&parameters).unwrap_or(PageRequest::Number(1));
    let page = match list(number).await {
        Err(AccountError::InvalidPage) => list(PageRequest::Last).await?,
        page => page?,
    };
    let events = page.items.iter();
    let events: Value = events.map(|event| shown(&visitor, event)).collect();
    let kinds = EventKind::ALL.iter().map(|kind| {
        let text = visitor.text(&format!("event.{kind}"), Value::UNDEFINED);
        Value::from(vec![kind.as_str().to_owned(), text])
    });
    let values = FILTERS.map(|name| (name, value(&parameters, name).unwrap_or_default().trim()));
    let given = values.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given.clone())
        .finish();
    let title = "console_events.title";
    layout::page(&visitor, "events", "console/events.html", title)
        .status(if is_wrong {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::OK
        })
        .with(context! {
            events,
            kinds => kinds.collect::<Value>(),
            query => Value::from_pairs(values.map(|(name, value)| (name, Value::from(value)))),
            filters => pairs(given.map(|(name, value)| (*name, *value))),
            is_filtered => !query.is_empty(),
            errors => problems.to_value(),
            pager => layout::pager(PATH, &query, page.number, page.pages),
        })
        .answer()
}

fn shown(visitor: &Visitor<'_>, event: &Event) -> Value {
    let actor_id = event.context.actor_id;
    context! {
        actor_id,
        is_own => actor_id.is_some() && actor_id == event.user_id,
        operator => &*event.context.operator,
        ..values::event(visitor, event)
    }
}

/// Reads the filters. A last day is meant as a whole.
fn read(parameters: &Parameters) -> Result<EventFilter, FieldErrors> {
    let mut filter = read_filter(parameters)?;
    let is_day = value(parameters, BEFORE).is_some_and(|text| text.trim().len() == DATE);
    if is_day {
        filter.before = filter.before.map(|day| day.plus(Duration::from_hours(24)));
    }
    Ok(filter)
}

/// The entries of a filter as a file, newest first.
pub(in crate::http) async fn export(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let texts = change.form.texts();
    let filters = texts
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let filter = read(&filters.collect()).map_err(AccountError::Fields)?;
    let by = Administrator::Staff(&change.session.caller, &change.visitor.client);
    let export = EventExport::start(app, by, filter).await?;
    let (format, media_type, disposition) = match change.form.text("format").as_str() {
        "jsonl" => (
            Format::JsonLines,
            "application/jsonl",
            "attachment; filename=\"events.jsonl\"",
        ),
        _ => (
            Format::Csv,
            "text/csv; charset=utf-8",
            "attachment; filename=\"events.csv\"",
        ),
    };
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(request_id::carried(send(export, format, sender)));
    Ok(reply::download(media_type, disposition, chunks))
}

/// The form of the file.
#[derive(Clone, Copy)]
enum Format {
    Csv,
    JsonLines,
}

/// The columns of the CSV file.
const COLUMNS: [&str; 12] = [
    "id",
    "created_at",
    "event",
    "user_id",
    "actor_id",
    "operator",
    "ip",
    "user_agent",
    "detail",
    "reason",
    "count",
    "last_at",
];

impl Format {
    fn head(self) -> Vec<u8> {
        let Self::Csv = self else {
            return Vec::new();
        };
        let mut head = BYTE_ORDER_MARK.to_vec();
        let mut rows = Rows::new();
        rows.push(COLUMNS);
        head.extend(rows.into_bytes());
        head
    }

    fn entries(self, events: &[Event]) -> Vec<u8> {
        match self {
            Self::Csv => {
                let mut rows = Rows::new();
                for event in events {
                    let cells = cells(event);
                    rows.push(cells.iter().map(String::as_str));
                }
                rows.into_bytes()
            }
            Self::JsonLines => {
                let mut lines = Vec::new();
                for event in events {
                    lines.extend(audit_log::write(event));
                    lines.push(b'\n');
                }
                lines
            }
        }
    }
}

fn cells(event: &Event) -> [String; COLUMNS.len()] {
    let context = &event.context;
    let number = |number: Option<i64>| number.map(|n| n.to_string()).unwrap_or_default();
    [
        event.id.to_string(),
        event.happened_at.to_string(),
        event.kind.to_string(),
        number(event.user_id),
        number(context.actor_id),
        context.operator.clone(),
        context.ip.clone(),
        context.user_agent.clone(),
        event.detail.clone(),
        context.reason.clone(),
        event.count.to_string(),
        event.last_at.to_string(),
    ]
}

/// Writes the entries for as long as somebody reads them.
async fn send(mut export: EventExport, format: Format, chunks: Sender<io::Result<Bytes>>) {
    let mut next = Ok(Bytes::from(format.head()));
    loop {
        let is_broken = next.is_err();
        if chunks.send(next).await.is_err() || is_broken {
            return;
        }
        next = match export.next_batch().await {
            Ok(events) if events.is_empty() => return,
            Ok(events) => Ok(format.entries(&events).into()),
            Err(error) => {
                log::error!("an export of the audit log broke off: {error}");
                Err(io::Error::other("the export broke off"))
            }
        };
    }
}
