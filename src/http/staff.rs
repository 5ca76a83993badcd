//! `GET users/`: the list of accounts for staff, in the pages of Django REST framework's `PageNumberPagination`.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use super::operation::{Operation, Outcome, Parameter, Refusal, Tag, Token};
use super::request::Request;
use super::users::{UserResponse, user_response};
use super::{HandlerResult, reply};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{Timestamp, User, messages};
use crate::store::{PageWish, UserOrder, UserPage, UserQuery};

const PAGE_SIZE: u32 = 20;
const LARGEST_PAGE: u32 = 100;

/// Most words that a search looks for; who types more gets what the first ones find.
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
}

/// `GET users/`
pub(super) const LIST: Operation = Operation {
    id: "listUsers",
    tag: Tag::Staff,
    summary: "List users",
    description: "Lists accounts, in pages. Needs the token of a staff account.",
    token: Token::Needed,
    query: &[
        Parameter {
            name: "search",
            description: "Words, divided by blanks or commas; each has to be in email, first name, last name or phone. The first \
                          16 count.",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "is_active",
            description: "Only accounts that may or may not sign in.",
            schema: r#"{"type": "boolean"}"#,
        },
        Parameter {
            name: "is_verified",
            description: "Only accounts whose address is or is not confirmed.",
            schema: r#"{"type": "boolean"}"#,
        },
        Parameter {
            name: "ordering",
            description: "`id`, `email`, `first_name`, `last_name`, `created_at`, `updated_at`, `last_login`, several divided by \
                          commas, each with `-` for descending. Others are ignored.",
            schema: r#"{"type": "string", "default": "id"}"#,
        },
        Parameter {
            name: "page",
            description: "A number from 1, or `last`.",
            schema: r#"{"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "const": "last"}], "default": 1}"#,
        },
        Parameter {
            name: "page_size",
            description: "Accounts on a page; a larger number counts as 100, what is no number is ignored.",
            schema: r#"{"type": "integer", "minimum": 1, "maximum": 100, "default": 20}"#,
        },
    ],
    answers: &[Outcome::json::<ListResponse<'static>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "photo": "http://localhost:8000/media/photos/photo.jpg", "address": "123 Main Street, Some City, Some Country", "gender": "M", "country": "US", "birthday": "1990-01-01", "has_initial_profile": true, "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z", "is_active": true, "is_verified": true, "is_staff": false, "last_login": "2024-12-03T12:00:00Z"}]}"#,
    )],
    refusals: &[
        Refusal {
            when: "a NUL in `search`",
            error: || ApiError::BadRequest(messages::NUL.to_owned()),
        },
        Refusal {
            when: "not staff",
            error: || ApiError::Forbidden,
        },
        Refusal {
            when: "a page past the end, or no number",
            error: || ApiError::InvalidPage,
        },
    ],
    ..Operation::NEW
};

/// `GET users/`
pub(super) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.authenticate(app).await?;
    // Who has no right to the list is not told what is wrong with the query.
    if !caller.user.is_staff {
        return Err(ApiError::Forbidden);
    }
    let parameters = parameters(&request.query);
    let query = read_query(&parameters)?;
    let page = read_page(&parameters).ok_or(ApiError::InvalidPage)?;
    let page = accounts::list_users(app, &caller, UserQuery { page, ..query }).await?;
    let url = format!("{}{}", app.public_url, request.path);
    let response = ListResponse {
        count: page.count,
        next: (page.number < page.pages).then(|| link(&url, &parameters, page.number + 1)),
        previous: (page.number > 1).then(|| link(&url, &parameters, page.number - 1)),
        results: listed(app, &page),
    };
    Ok(reply::json(StatusCode::OK, &response))
}

fn listed<'a>(app: &SharedApp, page: &'a UserPage) -> Vec<ListedUser<'a>> {
    page.users
        .iter()
        .map(|user: &User| ListedUser {
            user: user_response(app, user),
            is_active: user.is_active,
            is_verified: user.is_verified(),
            is_staff: user.is_staff,
            last_login: user.last_login_at,
        })
        .collect()
}

type Parameters = Vec<(String, String)>;

fn parameters(query: &str) -> Parameters {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// The value of a parameter; the last one of a name counts, as in Django.
fn value<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .rev()
        .find_map(|(known, value)| (known == name).then_some(value.as_str()))
}

/// The page that is asked for; `None` when it is no page.
fn read_page(parameters: &Parameters) -> Option<PageWish> {
    match value(parameters, "page").map(str::trim) {
        None | Some("") => Some(PageWish::Number(1)),
        Some("last") => Some(PageWish::Last),
        Some(number) => number.parse().ok().map(PageWish::Number),
    }
}

fn read_query(parameters: &Parameters) -> Result<UserQuery, ApiError> {
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
        is_active: read_bool(parameters, "is_active"),
        is_verified: read_bool(parameters, "is_verified"),
        order: value(parameters, "ordering")
            .unwrap_or_default()
            .split(',')
            .filter_map(|field| read_order(field.trim()))
            .collect(),
        page: PageWish::Number(1),
        page_size: value(parameters, "page_size")
            .and_then(|size| size.trim().parse().ok())
            .filter(|size| *size > 0)
            .map_or(PAGE_SIZE, |size: u64| {
                u32::try_from(size).unwrap_or(u32::MAX).min(LARGEST_PAGE)
            }),
    })
}

/// A filter; what is no boolean filters nothing.
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

/// The address of another page, with the other parameters sorted by name and page 1 left out, as Django REST framework
/// writes it.
fn link(url: &str, parameters: &Parameters, page: u64) -> String {
    let mut parameters: Vec<(String, String)> = parameters
        .iter()
        .filter(|(name, _)| name != "page")
        .cloned()
        .collect();
    if page > 1 {
        parameters.push(("page".into(), page.to_string()));
    }
    // Stable: values of one name keep their order.
    parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    if query.is_empty() {
        url.to_owned()
    } else {
        format!("{url}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_those_of_django_rest_framework() {
        let url = "http://localhost:8000/api/v1/accounts/users/";
        for (query, page, expected) in [
            ("", 2, "?page=2"),
            ("page=2", 1, ""),
            ("page=last&search=a+b&a", 3, "?a=&page=3&search=a+b"),
            (
                "search=x%40y,z&page=3&page=4&page_size=abc",
                1,
                "?page_size=abc&search=x%40y%2Cz",
            ),
        ] {
            let link = link(url, &parameters(query), page);
            assert_eq!(link, format!("{url}{expected}"), "{query}");
        }
    }

    #[test]
    fn what_is_no_filter_filters_nothing() {
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
        for (page, wish) in [
            ("", Some(PageWish::Number(1))),
            ("page=last", Some(PageWish::Last)),
            ("page=2", Some(PageWish::Number(2))),
            ("page=1.0", None),
            ("page=LAST", None),
        ] {
            assert_eq!(read_page(&parameters(page)), wish, "{page}");
        }
    }
}
