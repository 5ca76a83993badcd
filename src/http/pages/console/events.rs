//! `/console/events/`: the whole audit log, filtered.

use std::time::Duration;

use http::StatusCode;
use minijinja::{Value, context};

use super::{layout, staff};
use crate::accounts::{self, AccountError, Administrator};
use crate::app::SharedApp;
use crate::domain::{EventKind, FieldErrors};
use crate::http::api::audit_log::read_filter;
use crate::http::api::pagination::{Parameters, parameters, read_page, value};
use crate::http::pages::form::Problems;
use crate::http::pages::render::PageResult;
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
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
