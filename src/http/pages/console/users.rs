//! `/console/users/`: all accounts, searched, filtered and ordered.

use minijinja::{Value, context};

use super::bulk::OFFERED;
use super::{layout, staff};
use crate::accounts::{self, AccountError, Caller};
use crate::app::SharedApp;
use crate::domain::User;
use crate::http::api::pagination::{Parameters, parameters, read_page};
use crate::http::api::staff::read_query;
use crate::http::error::ApiError;
use crate::http::pages::render::PageResult;
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::{Page, PageRequest, UserQuery};

/// Where the list is.
pub(super) const PATH: &str = "/console/users/";

/// The section of all pages about accounts.
pub(super) const SECTION: &str = "users";

/// The parameters that are kept from page to page; the API has the same ones.
const PARAMETERS: [&str; 6] = [
    "search",
    "is_active",
    "is_verified",
    "is_staff",
    ORDERING,
    PAGE_SIZE,
];

const ORDERING: &str = "ordering";

/// The orders on offer, the default one first.
const ORDERINGS: [&str; 5] = ["-id", "id", "email", "last_name", "-last_login"];

const PAGE_SIZE: &str = "page_size";

/// The lengths of a page on offer, the default one first.
const PAGE_SIZES: [&str; 3] = ["25", "50", "100"];

/// Which accounts somebody has asked for, and how.
#[derive(Clone)]
pub(super) struct Filters(Parameters);

impl Filters {
    /// Picks the filters from the names and values of a query or a form.
    pub(super) fn of<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let mut filters = Vec::new();
        for (name, value) in pairs {
            let value = value.trim().replace('\0', "");
            let is_offered = match name {
                ORDERING => ORDERINGS.contains(&&*value),
                PAGE_SIZE => PAGE_SIZES.contains(&&*value),
                name => PARAMETERS.contains(&name),
            };
            if is_offered && !value.is_empty() {
                filters.push((name.to_owned(), value));
            }
        }
        Self(filters)
    }

    fn value(&self, name: &str) -> &str {
        let default = match name {
            ORDERING => ORDERINGS[0],
            PAGE_SIZE => PAGE_SIZES[0],
            _ => "",
        };
        let values = &mut self.0.iter().rev();
        values
            .find_map(|(known, value)| (known == name).then_some(&**value))
            .unwrap_or(default)
    }

    /// Whether they leave out some accounts.
    fn narrow(&self) -> bool {
        self.0
            .iter()
            .any(|(name, _)| name != ORDERING && name != PAGE_SIZE)
    }

    /// Names and values, for the fields of a form.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The path of the list with these filters.
    pub(super) fn path(&self) -> String {
        let query = self.query_string();
        if query.is_empty() {
            PATH.to_owned()
        } else {
            format!("{PATH}?{query}")
        }
    }

    fn query_string(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.pairs())
            .finish()
    }

    /// Finds the accounts, and the query that they match. Past the end is the last page.
    ///
    /// A single word that no account contains may be an id of another system.
    pub(super) async fn find(
        &self,
        app: &SharedApp,
        caller: &Caller,
        page: PageRequest,
    ) -> Result<(UserQuery, Page<User>), ApiError> {
        let parameters = PARAMETERS
            .iter()
            .map(|name| ((*name).to_owned(), self.value(name).to_owned()))
            .collect();
        let query = UserQuery {
            page,
            ..read_query(&parameters)?
        };
        let found = list(app, caller, &query).await?;
        if found.count > 0 || query.words.len() != 1 {
            return Ok((query, found));
        }
        let by_external_id = UserQuery {
            words: Vec::new(),
            external_id: Some(self.value("search").to_owned()),
            ..query
        };
        let found = list(app, caller, &by_external_id).await?;
        Ok((by_external_id, found))
    }
}

async fn list(
    app: &SharedApp,
    caller: &Caller,
    query: &UserQuery,
) -> Result<Page<User>, AccountError> {
    match accounts::list_users(app, caller, query.clone()).await {
        Err(AccountError::InvalidPage) => {
            let query = UserQuery {
                page: PageRequest::Last,
                ..query.clone()
            };
            accounts::list_users(app, caller, query).await
        }
        outcome => outcome,
    }
}

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let parameters = parameters(request.head.query());
    let page = read_page(&parameters).unwrap_or(PageRequest::Number(1));
    let filters = Filters::of(parameters.iter().map(|(name, value)| (&**name, &**value)));
    let (_, found) = filters.find(app, &session.caller, page).await?;
    let users: Value = found
        .items
        .iter()
        .map(|user| values::account(&visitor, user))
        .collect();
    let query = PARAMETERS.map(|name| (name, Value::from(filters.value(name))));
    layout::page(
        &visitor,
        SECTION,
        "console/users.html",
        "console_users.title",
    )
    .with(context! {
        query => Value::from_pairs(query),
        filters => pairs(filters.pairs()),
        is_filtered => filters.narrow(),
        orderings => ORDERINGS,
        page_sizes => PAGE_SIZES,
        actions => OFFERED.map(accounts::StaffAction::as_str),
        users,
        count => found.count,
        pager => layout::pager(PATH, &filters.query_string(), found.number, found.pages),
    })
    .answer()
}

/// Pairs of name and value, for hidden fields.
pub(super) fn pairs<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Value {
    pairs
        .map(|(name, value)| Value::from(vec![Value::from(name), Value::from(value)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(query: &str) -> Filters {
        let parameters = parameters(query);
        Filters::of(parameters.iter().map(|(name, value)| (&**name, &**value)))
    }

    #[test]
    fn only_filters_on_offer_are_kept() {
        let kept = filters("search=+a%00b+&is_staff=true&page=3&ordering=phone&page_size=7&x=y");
        assert_eq!(kept.path(), "/console/users/?search=ab&is_staff=true");
        assert_eq!(kept.value(ORDERING), "-id");
        assert_eq!(kept.value(PAGE_SIZE), "25");
        assert!(kept.narrow());
        let kept = filters("search=&ordering=email&page_size=100&page_size=50");
        assert_eq!(kept.value(ORDERING), "email");
        assert_eq!(kept.value(PAGE_SIZE), "50", "the last one counts");
        assert!(!kept.narrow());
        assert_eq!(filters("").path(), PATH);
    }
}
