//! `/console/users/<id>/`: one account, and what staff does to it.

use http::StatusCode;
use minijinja::{Value, context};

use super::users::{PATH, SECTION};
use super::{change, layout, mails, staff};
use crate::accounts::{self, AccountError, Caller, StaffAction};
use crate::app::SharedApp;
use crate::domain::{Fields, Input, User, UserId};
use crate::http::error::ApiError;
use crate::http::pages::account::profile::{country_choices, genders};
use crate::http::pages::account::ready;
use crate::http::pages::form::Problems;
use crate::http::pages::problem::wait;
use crate::http::pages::render::{PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::PageRequest;

/// Entries of the audit log on the page.
const EVENTS: u32 = 10;

/// The fields of the profile's form.
const FIELDS: [&str; 8] = [
    "email",
    "first_name",
    "last_name",
    "phone",
    "birthday",
    "gender",
    "country",
    "address",
];

/// The account.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let id = id_of(request)?;
    page(&visitor, app, &session.caller, id, Typed::default()).await
}

/// Saves its profile.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = id_of(request)?;
    let change = change(app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let fields = change.form.only(&FIELDS);
    match accounts::update(app, caller, id, &visitor.client, ready(fields)).await {
        Ok(_) => redirect(visitor, &path(id), "console.saved"),
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            let values = change.form.values();
            let typed = Typed::again(values, problems, status);
            page(visitor, app, caller, id, typed).await
        }
    }
}

/// Removes its photo.
pub(in crate::http) async fn remove_photo(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = id_of(request)?;
    let change = change(app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let mut fields = Fields::json();
    fields.insert("photo".into(), Input::Null);
    accounts::update::<AccountError>(app, caller, id, &visitor.client, ready(fields)).await?;
    redirect(visitor, &path(id), "console_user.photo_removed")
}

/// Does something to it, for a reason.
pub(in crate::http) async fn act(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = id_of(request)?;
    let change = change(app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let Some(action) = StaffAction::parse(&change.form.text("action")) else {
        return redirect(visitor, &path(id), "");
    };
    let reason = change.form.only(&["reason"]);
    match accounts::act_on_user(app, caller, &visitor.client, id, action, &reason).await {
        Ok(()) => redirect(visitor, &path(id), "console_user.done"),
        Err(error) => {
            let (problems, status) = action_problems(visitor, error)?;
            let values = change.form.values();
            let typed = Typed::again(values, problems, status);
            page(visitor, app, caller, id, typed).await
        }
    }
}

/// Ends one of its sessions.
pub(in crate::http) async fn end_session(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = id_of(request)?;
    let change = change(app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let session = change.form.text("session");
    match accounts::end_user_session(app, caller, &visitor.client, id, &session).await {
        // It may have ended by itself, or in another tab.
        Ok(()) | Err(AccountError::NotFound) => redirect(visitor, &path(id), "page_sessions.ended"),
        Err(error) => Err(error.into()),
    }
}

/// Asks whether it is to be deleted.
pub(in crate::http) async fn show_delete(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let id = id_of(request)?;
    delete_page(&visitor, app, &session.caller, id, Typed::default()).await
}

/// Deletes it.
pub(in crate::http) async fn delete(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = id_of(request)?;
    let change = change(app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let (client, reason) = (&visitor.client, change.form.only(&["reason"]));
    match accounts::act_on_user(app, caller, client, id, StaffAction::Delete, &reason).await {
        Ok(()) => redirect(visitor, PATH, "console_user.deleted"),
        Err(error) => {
            let (problems, status) = action_problems(visitor, error)?;
            let typed = Typed::again(change.form.values(), problems, status);
            delete_page(visitor, app, caller, id, typed).await
        }
    }
}

/// Why an action on an account was refused, where its page can say it.
///
/// # Errors
/// Other errors, which have a page of their own.
pub(super) fn action_problems(
    visitor: &Visitor<'_>,
    error: AccountError,
) -> Result<(Problems, StatusCode), ApiError> {
    let problems = match error {
        AccountError::LastStaffMember => Problems::one(visitor, "", "console_user.last_staff"),
        AccountError::NoActiveAccount => Problems::one(visitor, "", "console_user.inactive"),
        AccountError::Fields(errors) if errors.has("is_staff") => {
            Problems::one(visitor, "", "console_user.unverified")
        }
        AccountError::Throttled(duration) => {
            let key = "problem.throttled";
            return Ok((
                Problems::with(visitor, "", key, wait(duration)),
                StatusCode::TOO_MANY_REQUESTS,
            ));
        }
        other => return Problems::of_error(visitor, other),
    };
    Ok((problems, StatusCode::BAD_REQUEST))
}

/// What a form is filled in with, and what was wrong with it.
#[derive(Default)]
struct Typed {
    values: Option<Value>,
    problems: Problems,
    status: StatusCode,
}

impl Typed {
    fn again(values: Value, problems: Problems, status: StatusCode) -> Self {
        Self {
            values: Some(values),
            problems,
            status,
        }
    }
}

async fn page(
    visitor: &Visitor<'_>,
    app: &SharedApp,
    caller: &Caller,
    id: UserId,
    typed: Typed,
) -> PageResult {
    let user = accounts::retrieve(app, caller.clone(), id).await?;
    let factors = accounts::user_factor_status(app, caller, &user).await?;
    let sessions = accounts::list_user_sessions(app, caller, id).await?;
    let identities = accounts::list_user_identities(app, id).await?;
    let identities: Value = identities
        .iter()
        .map(|identity| values::identity(visitor, identity))
        .collect();
    let first = Some(PageRequest::Number(1));
    let events = accounts::list_user_events(app, caller, id, first, EVENTS).await?;
    let queue = mails::of_user(visitor, caller, id).await?;
    let stored = context! { email => user.shown_email(), ..values::profile(&user) };
    let actions: Vec<(&str, String)> = actions(&user, !sessions.is_empty())
        .map(|action| {
            let name = action.as_str();
            let text = visitor.text(&format!("console_user.{name}"), Value::UNDEFINED);
            (name, text)
        })
        .collect();
    let sessions: Value = sessions
        .iter()
        .map(|session| values::session(visitor, session, caller.session_id()))
        .collect();
    let shown: Value = events
        .items
        .iter()
        .map(|event| values::event(visitor, event))
        .collect();
    layout::page(visitor, SECTION, "console/user.html", "console_users.title")
        .title(user.shown_email())
        .status(typed.status)
        .with(context! {
            account => values::account(visitor, &user),
            is_own => caller.user.id == id,
            factors => values::factors(visitor, &factors),
            identities,
            actions,
            sessions,
            queue,
            events => shown,
            has_more_events => events.pages > 1,
            genders => genders(visitor),
            countries => country_choices(visitor),
            values => context! { ..typed.values.unwrap_or_default(), ..stored },
            errors => typed.problems.to_value(),
        })
        .answer()
}

async fn delete_page(
    visitor: &Visitor<'_>,
    app: &SharedApp,
    caller: &Caller,
    id: UserId,
    typed: Typed,
) -> PageResult {
    let user = accounts::retrieve(app, caller.clone(), id).await?;
    let (template, title) = ("console/user_delete.html", "console_user.delete_title");
    layout::page(visitor, SECTION, template, title)
        .status(typed.status)
        .with(context! {
            account => values::account(visitor, &user),
            is_own => caller.user.id == id,
            values => typed.values.unwrap_or_default(),
            errors => typed.problems.to_value(),
        })
        .answer()
}

/// The actions that make sense for an account; its deletion has a page of its own.
fn actions(user: &User, has_sessions: bool) -> impl Iterator<Item = StaffAction> {
    let (is_active, is_staff, is_verified) = (user.is_active, user.is_staff, user.is_verified());
    let has_factor = user.has_factor;
    StaffAction::ALL
        .into_iter()
        .filter(move |action| match action {
            StaffAction::Activate => !is_active,
            StaffAction::Deactivate | StaffAction::SendReset => is_active,
            StaffAction::Promote => !is_staff && is_verified,
            StaffAction::Demote => is_staff,
            StaffAction::EndSessions => has_sessions,
            StaffAction::ResetFactors => has_factor,
            StaffAction::Delete => false,
        })
}

/// The page of an account.
pub(super) fn path(id: UserId) -> String {
    format!("{PATH}{id}/")
}

/// The id in the path of a request.
fn id_of(request: &Request) -> Result<UserId, ApiError> {
    let rest = request.head.path().strip_prefix(PATH);
    let digits = rest.and_then(|rest| rest.split('/').next());
    digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(ApiError::NotFound)
}
