//! `/console/invitations/`: who was invited, and an invitation for somebody else.

use http::StatusCode;
use minijinja::{Value, context};

use super::{change, layout, staff};
use crate::accounts::{self, AccountError, Administrator, BrowserSession};
use crate::app::SharedApp;
use crate::http::api::pagination::{parameters, read_page, value};
use crate::http::pages::account::language;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::{Invitation, InvitationQuery, PageRequest};

pub(super) const PATH: &str = "/console/invitations/";

/// Invitations on a page.
const PAGE_SIZE: u32 = 50;

/// The list, with the form for another invitation.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    list(&visitor, session, request.head.query())
        .await?
        .answer()
}

/// Invites somebody, or mails another link.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let visitor = &change.visitor;
    let by = Administrator::Staff(&change.session.caller, &visitor.client);
    let fields = change.form.only(&["email", "language"]);
    let problems = match accounts::invite(app, by, &fields).await {
        Ok(_) => return redirect(visitor, PATH, "console_invitations.done"),
        Err(AccountError::EmailTaken) => Problems::one(visitor, "email", "complaint.email_taken"),
        Err(AccountError::NoInvitationPage) => {
            Problems::one(visitor, "", "console_invitations.no_page")
        }
        Err(error) => Problems::of_error(visitor, error)?.0,
    };
    list(visitor, &change.session, "")
        .await?
        .status(StatusCode::BAD_REQUEST)
        .with(context! { errors => problems.to_value(), values => change.form.values() })
        .answer()
}

/// Revokes an invitation.
pub(in crate::http) async fn revoke(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let visitor = &change.visitor;
    let by = Administrator::Staff(&change.session.caller, &visitor.client);
    match accounts::revoke_invitation(app, by, id).await {
        Ok(()) => redirect(visitor, PATH, "console_invitations.revoked"),
        Err(AccountError::NotFound) => {
            let problems = Problems::one(visitor, "", "console_invitations.gone");
            list(visitor, &change.session, "")
                .await?
                .status(StatusCode::NOT_FOUND)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
        Err(error) => Err(error.into()),
    }
}

async fn list<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    query: &str,
) -> Result<Page<'a>, AccountError> {
    let parameters = parameters(query);
    let search = value(&parameters, "search").unwrap_or_default();
    let search = search.trim().replace('\0', "");
    let by = Administrator::Staff(&session.caller, &visitor.client);
    let query = |page| InvitationQuery {
        search: search.clone(),
        page,
        page_size: PAGE_SIZE,
    };
    let number = read_page(&parameters).unwrap_or(PageRequest::Number(1));
    let page = match accounts::list_invitations(visitor.app, by, query(number)).await {
        // The list has become shorter.
        Err(AccountError::InvalidPage) => {
            accounts::list_invitations(visitor.app, by, query(PageRequest::Last)).await?
        }
        page => page?,
    };
    let invitations = page.items.iter();
    let invitations: Value = invitations.map(|one| shown(visitor, one)).collect();
    let filters = match search.as_str() {
        "" => String::new(),
        search => form_urlencoded::Serializer::new(String::new())
            .append_pair("search", search)
            .finish(),
    };
    let rendered = layout::page(
        visitor,
        "invitations",
        "console/invitations.html",
        "console_invitations.title",
    );
    Ok(rendered.with(context! {
        invitations,
        search => &*search,
        languages => language::choices(visitor),
        language => visitor.language.tag(),
        pager => layout::pager(PATH, &filters, page.number, page.pages),
    }))
}

fn shown(visitor: &Visitor<'_>, invitation: &Invitation) -> Value {
    let by = match invitation.inviter_id {
        Some(id) => visitor.text("console_events.user", context! { id }),
        None => visitor.text(
            "console_events.on_server",
            context! { name => &*invitation.operator },
        ),
    };
    context! {
        id => invitation.id,
        email => &*invitation.email,
        language => &*invitation.language,
        is_expired => invitation.is_expired(visitor.app.clock.now()),
        expires_at => values::time(visitor, invitation.expires_at),
        by,
    }
}
