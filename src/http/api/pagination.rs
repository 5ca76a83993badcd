//! Pagination as the `PageNumberPagination` of Django REST framework does it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::messages;
use crate::http::error::ApiError;
use crate::http::operation::{Parameter, Refusal};
use crate::store::{Page, PageRequest};

const DEFAULT_SIZE: u32 = 20;
const LARGEST_PAGE: u32 = 100;

/// The parameter that chooses a page.
pub(crate) const PAGE: Parameter = Parameter {
    name: "page",
    description: "A number from 1, or `last`.",
    schema: r#"{"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "const": "last"}], "default": 1}"#,
};

/// The parameter that chooses how long a page is.
pub(crate) const PAGE_SIZE: Parameter = Parameter {
    name: "page_size",
    description: "Entries per page, at most 100; anything else than a number is ignored.",
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 100, "default": 20}"#,
};

/// The refusal of a page.
pub(crate) const NO_PAGE: Refusal = Refusal {
    when: "the page does not exist or is not a number",
    error: || ApiError::InvalidPage,
};

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(crate) struct PageResponse<T> {
    /// How many entries there are on all pages.
    count: u64,
    /// URL of the next page.
    next: Option<String>,
    /// URL of the previous page.
    previous: Option<String>,
    results: Vec<T>,
}

impl<T> PageResponse<T> {
    /// A page of the list at `url` with these parameters.
    pub(crate) fn new<'a, S>(
        url: &str,
        parameters: &Parameters,
        page: &'a Page<S>,
        shown: impl FnMut(&'a S) -> T,
    ) -> Self {
        let (next, previous) = neighbours(url, parameters, page);
        Self {
            count: page.count,
            next,
            previous,
            results: page.items.iter().map(shown).collect(),
        }
    }
}

/// The URLs of the pages after and before one, where there are such.
pub(crate) fn neighbours<S>(
    url: &str,
    parameters: &Parameters,
    page: &Page<S>,
) -> (Option<String>, Option<String>) {
    let link = |number| link(url, parameters, number);
    let next = (page.number < page.pages).then(|| link(page.number + 1));
    let previous = (page.number > 1).then(|| link(page.number - 1));
    (next, previous)
}

/// Names and values of a query string, in order.
pub(crate) type Parameters = Vec<(String, String)>;

/// Reads a query string.
pub(crate) fn parameters(query: &str) -> Parameters {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// The value of a parameter; the last one of a name counts, as in Django.
pub(crate) fn value<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .rev()
        .find_map(|(known, value)| (known == name).then_some(value.as_str()))
}

/// The requested page; `None` when it is invalid.
pub(crate) fn read_page(parameters: &Parameters) -> Option<PageRequest> {
    match value(parameters, "page").map(str::trim) {
        None | Some("") => Some(PageRequest::Number(1)),
        Some("last") => Some(PageRequest::Last),
        Some(number) => number.parse().ok().map(PageRequest::Number),
    }
}

/// Entries per page; an invalid number is ignored.
pub(crate) fn read_page_size(parameters: &Parameters) -> u32 {
    value(parameters, "page_size")
        .and_then(|size| size.trim().parse().ok())
        .filter(|size| *size > 0)
        .map_or(DEFAULT_SIZE, |size: u64| {
            u32::try_from(size).unwrap_or(u32::MAX).min(LARGEST_PAGE)
        })
}

/// The text to search for; empty without one.
///
/// # Errors
/// 400 when it contains a NUL.
pub(crate) fn read_search(parameters: &Parameters) -> Result<String, ApiError> {
    let search = value(parameters, "search").unwrap_or_default().trim();
    if search.contains('\0') {
        return Err(ApiError::BadRequest(messages::NUL.to_owned()));
    }
    Ok(search.to_owned())
}

/// An id to filter by. `None` without one; a number that is too large is that of no object.
///
/// # Errors
/// When it is not a number.
pub(crate) fn read_id(parameters: &Parameters, name: &str) -> Result<Option<i64>, &'static str> {
    let text = value(parameters, name).unwrap_or_default().trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|b| b.is_ascii_digit()) || (digits.is_empty() && !text.is_empty()) {
        return Err(messages::NOT_AN_INTEGER);
    }
    Ok((!text.is_empty()).then(|| text.parse().unwrap_or(0)))
}

/// The URL of another page. The other parameters are sorted by name and page 1 is left out, as
/// Django REST framework does.
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
    fn ids_are_numbers_of_any_length() {
        let read = |query: &str| read_id(&parameters(query), "user");
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("user=+"), Ok(None));
        assert_eq!(read("user=7"), Ok(Some(7)));
        assert_eq!(read("user=-7"), Ok(Some(-7)));
        assert_eq!(read("user=99999999999999999999"), Ok(Some(0)));
        for wrong in ["user=me", "user=-", "user=1.5", "user=%2B7"] {
            assert_eq!(read(wrong), Err(messages::NOT_AN_INTEGER), "{wrong}");
        }
    }

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
    fn invalid_page_is_none() {
        for (page, expected) in [
            ("", Some(PageRequest::Number(1))),
            ("page=last", Some(PageRequest::Last)),
            ("page=2", Some(PageRequest::Number(2))),
            ("page=1.0", None),
            ("page=LAST", None),
        ] {
            assert_eq!(read_page(&parameters(page)), expected, "{page}");
        }
    }
}
