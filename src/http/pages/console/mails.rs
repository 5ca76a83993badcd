//! `/console/mails/`: the mail queue. It shows why mails do not arrive, and nothing of what they say.

use http::StatusCode;
use minijinja::{Value, context};

use super::{change, layout, staff};
use crate::accounts::{self, AccountError, Administrator, BrowserSession, Caller};
use crate::app::SharedApp;
use crate::domain::{MailState, UserId};
use crate::http::api::pagination::{Parameters, parameters, read_id, read_page, value};
use crate::http::pages::access::Change;
use crate::http::pages::form::Problems;
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::{MailEntry, MailQuery, PageRequest};

pub(super) const PATH: &str = "/console/mails/";

/// Mails on a page.
const PAGE_SIZE: u32 = 50;

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    list(&visitor, session, &visitor.path).await?.answer()
}

/// Makes a mail due at once.
pub(in crate::http) async fn retry(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let by = Administrator::Staff(&change.session.caller, &change.visitor.client);
    let outcome = accounts::retry_mail(app, by, id).await.map(drop);
    answer(&change, outcome, "console_mails.retried").await
}

/// Discards a mail.
pub(in crate::http) async fn discard(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let by = Administrator::Staff(&change.session.caller, &change.visitor.client);
    let outcome = accounts::discard_mail(app, by, id).await;
    answer(&change, outcome, "console_mails.dropped").await
}

/// Leads back to the list as it was filtered, or shows there what was wrong.
async fn answer(
    change: &Change<'_>,
    outcome: Result<(), AccountError>,
    message: &str,
) -> PageResult {
    let visitor = &change.visitor;
    let next = change.form.text("next");
    let path = next_path::below(&next, PATH).unwrap_or(PATH);
    let (status, problem) = match outcome {
        Ok(()) => return redirect(visitor, path, message),
        Err(AccountError::NotFound) => (StatusCode::NOT_FOUND, "console_mails.gone"),
        Err(AccountError::MailExpired) => (StatusCode::BAD_REQUEST, "console_mails.too_late"),
        Err(error) => return Err(error.into()),
    };
    let problems = Problems::one(visitor, "", problem);
    list(visitor, &change.session, path)
        .await?
        .status(status)
        .with(context! { errors => problems.to_value() })
        .answer()
}

/// The filters of a list, from the query of its path.
struct Filters {
    state: Option<MailState>,
    user_id: Option<UserId>,
    search: String,
    page: PageRequest,
}

impl Filters {
    fn of(parameters: &Parameters) -> Self {
        let search = value(parameters, "search").unwrap_or_default();
        Self {
            state: value(parameters, "state").and_then(MailState::parse),
            user_id: read_id(parameters, "user").ok().flatten(),
            search: search.trim().replace('\0', ""),
            page: read_page(parameters).unwrap_or(PageRequest::Number(1)),
        }
    }

    /// The query of a page with these filters, without its number.
    fn query(&self) -> String {
        let state = self.state.map(|state| ("state", state.as_str()));
        let search = (!self.search.is_empty()).then_some(("search", self.search.as_str()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(id) = self.user_id {
            query.append_pair("user", &id.to_string());
        }
        query.extend_pairs(state.into_iter().chain(search)).finish()
    }
}

async fn list<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    path: &str,
) -> Result<Page<'a>, AccountError> {
    let (_, query) = path.split_once('?').unwrap_or_default();
    let filters = Filters::of(&parameters(query));
    let by = Administrator::Staff(&session.caller, &visitor.client);
    let query = |page| MailQuery {
        state: filters.state,
        user_id: filters.user_id,
        search: filters.search.clone(),
        page,
        page_size: PAGE_SIZE,
    };
    let page = match accounts::list_mails(visitor.app, by, query(filters.page)).await {
        // The queue has become shorter.
        Err(AccountError::InvalidPage) => {
            accounts::list_mails(visitor.app, by, query(PageRequest::Last)).await?
        }
        page => page?,
    };
    let mails: Value = page.items.iter().map(|mail| shown(visitor, mail)).collect();
    let rendered = layout::page(
        visitor,
        "mails",
        "console/mails.html",
        "console_mails.title",
    );
    Ok(rendered.with(context! {
        mails,
        states => MailState::ALL.map(MailState::as_str),
        query => context! { state => filters.state.map_or("", MailState::as_str), search => &*filters.search },
        user_id => filters.user_id,
        is_filtered => filters.state.is_some() || filters.user_id.is_some() || !filters.search.is_empty(),
        pager => layout::pager(PATH, &filters.query(), page.number, page.pages),
        next => path,
    }))
}

/// The first few mails about an account, and the way to all of them.
pub(super) async fn of_user(
    visitor: &Visitor<'_>,
    caller: &Caller,
    id: UserId,
) -> Result<Value, AccountError> {
    let query = MailQuery {
        state: None,
        user_id: Some(id),
        search: String::new(),
        page: PageRequest::Number(1),
        page_size: 5,
    };
    let by = Administrator::Staff(caller, &visitor.client);
    let page = accounts::list_mails(visitor.app, by, query).await?;
    let mails: Value = page.items.iter().map(|mail| shown(visitor, mail)).collect();
    Ok(context! { mails, link => format!("{PATH}?user={id}") })
}

fn shown(visitor: &Visitor<'_>, mail: &MailEntry) -> Value {
    let is_over = mail.state == MailState::Expired || mail.expires_at <= visitor.app.clock.now();
    context! {
        id => mail.id,
        recipient => &*mail.email,
        user_id => mail.user_id,
        kind => kind(visitor, &mail.kind),
        state => mail.state.as_str(),
        class => match mail.state {
            MailState::Failed | MailState::Expired => "problem",
            MailState::Waiting if !mail.problem.is_empty() => "warning",
            MailState::Waiting | MailState::Sending => "",
        },
        reason => &*mail.problem,
        tries => mail.tries,
        created_at => values::time(visitor, mail.created_at),
        next_try_at => mail.next_try_at.map(|at| values::time(visitor, at)),
        can_be_retried => !is_over && mail.state != MailState::Sending,
    }
}

/// The kind of a mail in words: its heading.
fn kind(visitor: &Visitor<'_>, kind: &str) -> Option<String> {
    let heading = format!("{kind}.heading");
    visitor
        .language
        .sentence(kind, "heading")
        .map(|_| visitor.text(&heading, Value::UNDEFINED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_what_is_known() {
        let filters = |query: &str| Filters::of(&parameters(query));
        let kept = filters("state=failed&search=+a%40b%00+&page=3&user=7&x=1");
        assert_eq!(kept.query(), "user=7&state=failed&search=a%40b");
        assert_eq!(kept.page, PageRequest::Number(3));
        assert_eq!(filters("state=sent&search=+&page=x&user=y").query(), "");
    }
}
