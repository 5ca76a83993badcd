//! Requests from pages of other origins (the Fetch standard's CORS protocol).
//!
//! Closed unless an origin is configured, and then open for exactly that origin. Tokens travel in a
//! header and not in cookies, so credentials are never allowed. Public documents answer any origin,
//! and what OAuth clients ask answers the pages of those clients.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    HOST, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};

use super::request::Head;
use super::route::Readers;
use crate::config::{CorsOrigin, ServerConfig};

/// What a page may send besides the safelisted headers and those of `[server] cors_headers`.
const REQUEST_HEADERS: &str = "authorization, content-type";

/// What a page may read besides the safelisted headers.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, x-request-id");

/// The same for a page of a client: the challenge says what is wrong with a token.
const CLIENT_ANSWER_HEADERS: HeaderValue =
    HeaderValue::from_static("retry-after, www-authenticate, x-request-id");

/// Seconds that a browser may cache a preflight: the most that any of them does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

const ANY: HeaderValue = HeaderValue::from_static("*");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Adds the headers that let a page of an allowed origin read the answer. `is_of_client`: the
/// request's origin is one of the client.
pub(super) fn allow(
    server: &ServerConfig,
    (readers, is_of_client): (Readers, bool),
    request: &Head,
    answer: &mut HeaderMap,
) {
    let origin = if readers == Readers::Any {
        ANY
    } else {
        if readers == Readers::Configured && server.cors_origins.is_empty() {
            return;
        }
        // The answer differs by origin, also for one that is not allowed: caches have to know.
        answer.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = request.headers.get(ORIGIN) else {
            return;
        };
        let is_allowed = match readers {
            Readers::Clients => is_of_client,
            _ => is_configured(&server.cors_origins, origin),
        };
        if !is_allowed {
            return;
        }
        origin.clone()
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let is_preflight = request.method == Method::OPTIONS
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        if let Some(methods) = answer.get(ALLOW).cloned() {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(headers) = request_headers(server) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        let headers = match readers {
            Readers::Clients => CLIENT_ANSWER_HEADERS,
            Readers::Configured | Readers::Any => ANSWER_HEADERS,
        };
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, headers);
    }
}

fn request_headers(server: &ServerConfig) -> Option<HeaderValue> {
    let more = server
        .cors_headers
        .iter()
        .map(crate::config::HeaderName::as_str);
    let all: Vec<&str> = [REQUEST_HEADERS].into_iter().chain(more).collect();
    HeaderValue::try_from(all.join(", ")).ok()
}

fn is_configured(origins: &[CorsOrigin], origin: &HeaderValue) -> bool {
    origins
        .iter()
        .any(|allowed| origin.as_bytes() == allowed.as_str().as_bytes())
}

/// Whether a page of a foreign origin sends the request, and would change something.
///
/// Browsers send plain posts without asking first, so CORS headers alone protect nothing that needs
/// no token. Programs send neither of the two headers that are looked at. A page of this server has
/// its public URL or the request's `Host` for an origin.
pub(super) fn is_cross_site(server: &ServerConfig, public_url: &str, request: &Head) -> bool {
    if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let site = request.headers.get(SEC_FETCH_SITE);
    let site = site.map_or(&b""[..], HeaderValue::as_bytes);
    let mut origins = request.headers.get_all(ORIGIN).iter().peekable();
    if origins.peek().is_none() {
        return site == b"cross-site";
    }
    site != b"same-origin"
        && !origins.all(|origin| {
            is_configured(&server.cors_origins, origin) || is_own(public_url, request, origin)
        })
}

fn is_own(public_url: &str, request: &Head, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    if CorsOrigin::of_url(public_url).is_some_and(|own| own.as_str() == origin) {
        return true;
    }
    let host = request
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    host.is_some() && host == authority
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn is_refused(method: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut server = Config::defaults(false).server;
        server.cors_origins = vec!["https://app.example".parse().unwrap()];
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("localhost:8000"));
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        let head = Head::new(method, "/x/".parse().unwrap(), map, None, false);
        is_cross_site(&server, "https://accounts.example/base", &head)
    }

    #[test]
    fn foreign_pages_may_not_post() {
        for (headers, expected) in [
            (&[][..], false),
            (&[("origin", "https://app.example")], false),
            (&[("origin", "https://accounts.example")], false),
            (&[("origin", "http://localhost:8000")], false),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "https://accounts.example.evil.example")], true),
            (&[("origin", "http://localhost:8001")], true),
            (&[("origin", "null")], true),
            (&[("origin", "\u{e9}")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (
                &[("origin", "null"), ("sec-fetch-site", "same-origin")],
                false,
            ),
            (
                &[
                    ("origin", "https://app.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
            (
                &[
                    ("origin", "https://evil.example"),
                    ("sec-fetch-site", "same-site"),
                ],
                true,
            ),
            (
                &[
                    ("origin", "https://app.example"),
                    ("origin", "https://evil.example"),
                ],
                true,
            ),
        ] {
            for method in ["POST", "PATCH", "DELETE", "PUT"] {
                assert_eq!(
                    is_refused(method, headers),
                    expected,
                    "{method} {headers:?}"
                );
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert!(!is_refused(method, headers), "{method} {headers:?}");
            }
        }
    }
}
