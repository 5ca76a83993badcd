//! `/console/users/bulk/`: one action on many accounts, the selected ones or all that match.

use http::StatusCode;
use minijinja::{Value, context};

use super::user::action_problems;
use super::users::{Filters, PATH, SECTION, pairs};
use super::{change, layout, staff};
use crate::accounts::{self, Caller, Selection, StaffAction};
use crate::app::SharedApp;
use crate::domain::UserId;
use crate::http::api::pagination::parameters;
use crate::http::error::ApiError;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::PageRequest;

/// The actions on offer for many accounts: staff is made one by one.
pub(super) const OFFERED: [StaffAction; 6] = [
    StaffAction::Activate,
    StaffAction::Deactivate,
    StaffAction::SendReset,
    StaffAction::EndSessions,
    StaffAction::Demote,
    StaffAction::Delete,
];

/// Most addresses that the page names.
const NAMED: usize = 10;

/// What the name of a selected account's field begins with; its id follows.
const USER: &str = "user-";

/// The field that selects all accounts that match the filters.
const ALL: &str = "all";

/// An action and the accounts that it is chosen for.
struct Choice {
    action: StaffAction,
    ids: Vec<UserId>,
    is_all: bool,
    filters: Filters,
}

impl Choice {
    /// Reads a choice from the names and values of a query or a form; `None` without an action.
    fn of<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)> + Clone) -> Option<Self> {
        let action = pairs
            .clone()
            .find_map(|(name, value)| (name == "action").then(|| StaffAction::parse(value)))??;
        let ids = pairs.clone().filter_map(|(name, _)| {
            let digits = name.strip_prefix(USER)?;
            digits.parse().ok()
        });
        OFFERED.contains(&action).then(|| Self {
            action,
            ids: ids.collect(),
            is_all: pairs.clone().any(|(name, _)| name == ALL),
            filters: Filters::of(pairs),
        })
    }

    /// The fields that carry it on.
    fn carried(&self) -> Value {
        let names: Vec<String> = self.ids.iter().map(|id| format!("{USER}{id}")).collect();
        let ids = names.iter().map(|name| (&**name, "yes"));
        let all = self.is_all.then_some((ALL, "yes"));
        pairs(
            std::iter::once(("action", self.action.as_str()))
                .chain(ids.filter(|_| !self.is_all))
                .chain(all)
                .chain(self.filters.pairs()),
        )
    }

    async fn selection(&self, app: &SharedApp, caller: &Caller) -> Result<Selection, ApiError> {
        if !self.is_all {
            return Ok(Selection::Ids(self.ids.clone()));
        }
        let first = PageRequest::Number(1);
        let (query, _) = self.filters.find(app, caller, first).await?;
        Ok(Selection::Matching(query))
    }

    /// How many accounts it is about, and the addresses of the first ones.
    async fn preview(
        &self,
        app: &SharedApp,
        caller: &Caller,
    ) -> Result<(u64, Vec<String>), ApiError> {
        if self.is_all {
            let first = PageRequest::Number(1);
            let (_, page) = self.filters.find(app, caller, first).await?;
            let emails = page.items.iter().take(NAMED);
            let emails = emails.map(|user| user.shown_email().to_owned()).collect();
            return Ok((page.count, emails));
        }
        let mut emails = Vec::new();
        for id in self.ids.iter().take(NAMED) {
            match accounts::retrieve(app, caller.clone(), *id).await {
                Ok(user) => emails.push(user.shown_email().to_owned()),
                Err(accounts::AccountError::UserNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let unnamed = self.ids.len().saturating_sub(NAMED);
        Ok(((emails.len() + unnamed) as u64, emails))
    }
}

/// Asks for the reason, and names what will be done to whom.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let parameters = parameters(request.head.query());
    let pairs = parameters.iter().map(|(name, value)| (&**name, &**value));
    let Some(choice) = Choice::of(pairs) else {
        return redirect(&visitor, PATH, "");
    };
    let (status, problems) = (StatusCode::OK, Problems::default());
    page(&visitor, app, &session.caller, &choice, (status, problems)).await
}

/// Does it.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let texts = change.form.texts();
    let Some(choice) = Choice::of(texts.iter().copied()) else {
        return redirect(visitor, PATH, "");
    };
    let selection = choice.selection(app, caller).await?;
    let reason = change.form.only(&["reason"]);
    let client = &visitor.client;
    match accounts::act_on_users(app, caller, client, selection, choice.action, &reason).await {
        Ok(outcome) => {
            let message = match outcome.refused {
                0 => format!("console_users.bulk_done:{}", outcome.done),
                refused => format!("console_users.bulk_some:{}:{refused}", outcome.done),
            };
            redirect(visitor, &choice.filters.path(), &message)
        }
        Err(error) => {
            let (problems, status) = action_problems(visitor, error)?;
            page(visitor, app, caller, &choice, (status, problems)).await
        }
    }
}

async fn page(
    visitor: &Visitor<'_>,
    app: &SharedApp,
    caller: &Caller,
    choice: &Choice,
    (status, problems): (StatusCode, Problems),
) -> PageResult {
    let action = choice.action;
    let (count, emails) = choice.preview(app, caller).await?;
    let problems = if count == 0 {
        Problems::one(visitor, "", "console_users.nothing_selected")
    } else {
        problems
    };
    let title = match action {
        StaffAction::Delete => "console_bulk.delete".to_owned(),
        action => format!("console_user.{}", action.as_str()),
    };
    layout::page(visitor, SECTION, "console/bulk.html", &title)
        .status(if count == 0 {
            StatusCode::BAD_REQUEST
        } else {
            status
        })
        .with(context! {
            action => action.as_str(),
            count,
            more => count - emails.len() as u64,
            emails,
            has_own => choice.is_all || choice.ids.contains(&caller.user.id),
            carried => choice.carried(),
            back => choice.filters.path(),
            errors => problems.to_value(),
        })
        .answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice_is_read_from_names_and_values() {
        let pairs = [
            ("action", "deactivate"),
            ("user-7", "yes"),
            ("user-x", "yes"),
            ("search", "ada"),
        ];
        let choice = Choice::of(pairs.into_iter()).unwrap();
        assert_eq!(choice.action, StaffAction::Deactivate);
        assert_eq!((choice.ids, choice.is_all), (vec![7], false));
        assert_eq!(choice.filters.path(), "/console/users/?search=ada");
        for action in ["promote", "explode", ""] {
            assert!(Choice::of([("action", action)].into_iter()).is_none());
        }
        assert!(Choice::of(std::iter::empty()).is_none());
    }
}
