//! `GET users/`: the list of accounts for staff.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, Parameters, neighbours, parameters, read_page, read_page_size, value,
};
use super::users::{UserResponse, user_response};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{Timestamp, User, messages};
use crate::http::error::ApiError;
use crate::http::operation::{NOT_STAFF, Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::{Page, PageRequest, UserOrder, UserQuery};

/// Most words of a search; further ones are ignored.
const MOST_WORDS: usize = 16;

/// A page of accounts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserPage")]
struct ListResponse<'a> {
    /// How many accounts there are on all pages.
    count: u64,
    /// URL of the next page.
    next: Option<String>,
    /// URL of the previous page.
    previous: Option<String>,
    results: Vec<ListedUser<'a>>,
}

/// An account as staff sees it.
#[derive(Serialize, JsonSchema)]
struct ListedUser<'a> {
    #[serde(flatten)]
    user: UserResponse<'a>,
    is_active: bool,
    is_verified: bool,
    is_staff: bool,
    last_login: Option<Timestamp>,
    /// The id in the system that the account was imported from; empty for others.
    external_id: &'a str,
}

/// `GET users/`
pub(crate) const LIST: Operation = Operation {
    id: "listUsers",
    tag: Tag::Staff,
    summary: "List users",
    description: "Lists accounts, in pages. Needs the token of a staff account.",
    query: &[
        Parameter {
            name: "search",
            description: "Words, separated by blanks or commas; each has to be in email, first \
                          name, last name or phone. The first 16 count.",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "external_id",
            description: "Only the account that was imported with this id.",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "is_active",
            description: "Only active or only deactivated accounts.",
            schema: r#"{"type": "boolean"}"#,
        },
        Parameter {
            name: "is_verified",
            description: "Only accounts whose address is or is not confirmed.",
            schema: r#"{"type": "boolean"}"#,
        },
        Parameter {
            name: "is_staff",
            description: "With `true`, only staff accounts; otherwise ignored.",
            schema: r#"{"type": "boolean"}"#,
        },
        Parameter {
            name: "ordering",
            description: "`id`, `email`, `first_name`, `last_name`, `created_at`, `updated_at`, \
                          `last_login`, several separated by commas, each with `-` for descending. \
                          Others are ignored.",
            schema: r#"{"type": "string", "default": "id"}"#,
        },
        PAGE,
        PAGE_SIZE,
    ],
    answers: &[Outcome::json::<ListResponse<'static>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "photo": "http://localhost:8000/media/photos/photo.jpg", "address": "123 Main Street, Some City, Some Country", "gender": "M", "country": "US", "birthday": "1990-01-01", "has_initial_profile": true, "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z", "is_active": true, "is_verified": true, "is_staff": false, "last_login": "2024-12-03T12:00:00Z", "external_id": ""}]}"#,
    )],
    refusals: &[
        Refusal {
            when: "a NUL in `search`",
            error: || ApiError::BadRequest(messages::NUL.to_owned()),
        },
        NOT_STAFF,
        NO_PAGE,
    ],
    ..Operation::NEW
};

/// `GET users/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let parameters = parameters(request.head.query());
    let query = read_query(&parameters)?;
    let page = read_page(&parameters).ok_or(ApiError::InvalidPage)?;
    let page = accounts::list_users(app, &caller, UserQuery { page, ..query }).await?;
    let url = format!("{}{}", app.public_url, request.head.path());
    let (next, previous) = neighbours(&url, &parameters, &page);
    let response = ListResponse {
        count: page.count,
        next,
        previous,
        results: listed(app, &page),
    };
    Ok(reply::json(StatusCode::OK, &response))
}

fn listed<'a>(app: &SharedApp, page: &'a Page<User>) -> Vec<ListedUser<'a>> {
    page.items
        .iter()
        .map(|user: &User| ListedUser {
            user: user_response(app, user),
            is_active: user.is_active,
            is_verified: user.is_verified(),
            is_staff: user.is_staff,
            last_login: user.last_login_at,
            external_id: user.external_id.as_deref().unwrap_or_default(),
        })
        .collect()
}

/// Reads the filters, the order and the length of a page; page 1.
pub(crate) fn read_query(parameters: &Parameters) -> Result<UserQuery, ApiError> {
    let search = value(parameters, "search").unwrap_or_default();
    if search.contains('\0') {
        return Err(ApiError::BadRequest(messages::NUL.to_owned()));
    }
    Ok(UserQuery {
        words: search
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|word| !word.is_empty())
            .take(MOST_WORDS)
            .map(str::to_owned)
            .collect(),
        external_id: value(parameters, "external_id")
            .map(str::to_owned)
            .filter(|id| !id.is_empty()),
        is_active: read_bool(parameters, "is_active"),
        is_verified: read_bool(parameters, "is_verified"),
        only_staff: read_bool(parameters, "is_staff") == Some(true),
        order: value(parameters, "ordering")
            .unwrap_or_default()
            .split(',')
            .filter_map(|field| read_order(field.trim()))
            .collect(),
        page: PageRequest::Number(1),
        page_size: read_page_size(parameters),
    })
}

/// A filter; anything else than a boolean is ignored.
fn read_bool(parameters: &Parameters, name: &str) -> Option<bool> {
    match value(parameters, name)?.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn read_order(field: &str) -> Option<(UserOrder, bool)> {
    let (name, descending) = match field.strip_prefix('-') {
        Some(name) => (name, true),
        None => (field, false),
    };
    let column = match name {
        "id" => UserOrder::Id,
        "email" => UserOrder::Email,
        "first_name" => UserOrder::FirstName,
        "last_name" => UserOrder::LastName,
        "created_at" => UserOrder::CreatedAt,
        "updated_at" => UserOrder::UpdatedAt,
        "last_login" => UserOrder::LastLogin,
        _ => return None,
    };
    Some((column, descending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_filters_are_ignored() {
        let query = read_query(&parameters(
            "is_active=maybe&is_verified=TRUE&ordering=-id,nonsense, email,--id&page_size=0&search=a,b%20%20c",
        ))
        .unwrap();
        assert_eq!(query.is_active, None);
        assert_eq!(query.is_verified, Some(true));
        assert_eq!(
            query.order,
            [(UserOrder::Id, true), (UserOrder::Email, false)]
        );
        assert_eq!(query.page_size, 20);
        assert_eq!(query.words, ["a", "b", "c"]);
        assert_eq!(
            read_query(&parameters("page_size=1000")).unwrap().page_size,
            100
        );
    }
}
