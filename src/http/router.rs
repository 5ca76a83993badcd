//! The table of routes, and how a request finds its route.
//!
//! A path is matched first; token and method are judged afterwards, in the order of Django REST
//! framework (see [`super::answer`]). To add an endpoint, write its handler and, for an API
//! resource, its [`Operation`], and add one line to [`ROUTES`].

use std::sync::LazyLock;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method};

use super::HandlerResult;
use super::api::{
    dev, discovery, email_undo, events, health, metrics, otp, passwords, photos, sessions, staff,
    tokens, users,
};
use super::openapi::{self, Operation, docs};
use super::request::Request;
use crate::app::SharedApp;
use crate::observability::metrics::{Action, MAX_ROUTES};

/// Handles one method of one path.
pub(super) type Handler =
    for<'a> fn(&'a SharedApp, &'a mut Request) -> BoxFuture<'a, HandlerResult>;

/// How a route authenticates its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// Ignores the `Authorization` header.
    None,
    /// Uses an access token if a valid one is sent; a bad one counts as none.
    OptionalBearer,
    /// Refuses requests without a valid access token.
    Bearer,
}

/// Which requests can see a route; to the others its path does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposure {
    /// Everybody, on the main address.
    Public,
    /// Everybody, on the main address and on `[metrics] listen`.
    Monitoring,
    /// Requests on `[metrics] listen`; without that setting, local programs on the main address.
    Metrics,
    /// Local programs, with `--dev` only; documented only there.
    Development,
}

/// How errors of a route are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorFormat {
    /// The JSON bodies of the API.
    Json,
    /// A page for a person at a browser.
    Page,
}

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    /// The path with its trailing slash, if it has one. `{pk}` is a user id or `me`, `{id}` any
    /// non-empty segment.
    pub(super) path: &'static str,
    /// What `OPTIONS` calls the path.
    pub(super) name: &'static str,
    pub(super) handler: Handler,
    pub(super) auth: Auth,
    pub(super) exposure: Exposure,
    pub(super) errors: ErrorFormat,
    /// Whether pages of any origin may read its answers.
    pub(super) for_any_origin: bool,
    /// What the metrics count its requests as.
    pub(super) action: Option<Action>,
    /// Its entry in the OpenAPI document, if it has one.
    pub(super) docs: Option<&'static Operation>,
}

impl Route {
    const fn new(method: Method, path: &'static str, name: &'static str, handler: Handler) -> Self {
        Self {
            method,
            path,
            name,
            handler,
            auth: Auth::None,
            exposure: Exposure::Public,
            errors: ErrorFormat::Json,
            for_any_origin: false,
            action: None,
            docs: None,
        }
    }

    const fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    const fn bearer(self) -> Self {
        self.auth(Auth::Bearer)
    }

    const fn exposed_to(mut self, exposure: Exposure) -> Self {
        self.exposure = exposure;
        self
    }

    /// Renders errors as pages.
    const fn page(mut self) -> Self {
        self.errors = ErrorFormat::Page;
        self
    }

    const fn for_any_origin(mut self) -> Self {
        self.for_any_origin = true;
        self
    }

    const fn counted_as(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    const fn docs(mut self, operation: &'static Operation) -> Self {
        self.docs = Some(operation);
        self
    }
}

macro_rules! get {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::GET, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

macro_rules! post {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::POST, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

macro_rules! patch {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::PATCH, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

macro_rules! delete {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::DELETE, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

/// Prefixes a path with that of the account API.
macro_rules! accounts {
    ($path:literal) => {
        concat!("/api/v1/accounts/", $path)
    };
}

/// Every route that is served.
#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    get!(accounts!("users/"), "User List", staff::list).bearer().docs(&staff::LIST),
    post!(accounts!("users/"), "User List", users::create)
        .counted_as(Action::SignUp).docs(&users::CREATE),
    get!(accounts!("users/{pk}/"), "User Instance", users::retrieve)
        .bearer().docs(&users::RETRIEVE),
    patch!(accounts!("users/{pk}/"), "User Instance", users::partial_update)
        .bearer().docs(&users::PARTIAL_UPDATE),
    delete!(accounts!("users/{pk}/"), "User Instance", users::destroy)
        .bearer().counted_as(Action::Deletion).docs(&users::DESTROY),
    get!(accounts!("users/{pk}/events/"), "Event List", events::list)
        .bearer().docs(&events::LIST),

    post!(accounts!("otp/verify/"), "Otp Verify", otp::verify)
        .auth(Auth::OptionalBearer).counted_as(Action::Confirmation).docs(&otp::VERIFY),
    post!(accounts!("otp/resend/"), "Otp Resend", otp::resend).docs(&otp::RESEND),

    post!(accounts!("token/"), "Token Obtain Pair", tokens::obtain)
        .counted_as(Action::SignIn).docs(&tokens::OBTAIN),
    post!(accounts!("token/refresh/"), "Token Refresh", tokens::refresh)
        .counted_as(Action::Refresh).docs(&tokens::REFRESH),
    post!(accounts!("token/verify/"), "Token Verify", tokens::verify).docs(&tokens::VERIFY),
    post!(accounts!("token/blacklist/"), "Token Blacklist", tokens::blacklist)
        .counted_as(Action::SignOut).docs(&tokens::BLACKLIST),

    post!(accounts!("password/reset/"), "Password Reset", passwords::reset)
        .counted_as(Action::ResetRequest).docs(&passwords::RESET),
    post!(accounts!("password/reset/confirm/"), "Password Reset Confirm", passwords::confirm_reset)
        .counted_as(Action::PasswordReset).docs(&passwords::CONFIRM_RESET),
    post!(accounts!("password/change/"), "Password Change", passwords::change)
        .bearer().counted_as(Action::PasswordChange).docs(&passwords::CHANGE),

    get!(accounts!("sessions/"), "Session List", sessions::list).bearer().docs(&sessions::LIST),
    delete!(accounts!("sessions/"), "Session List", sessions::destroy_others)
        .bearer().docs(&sessions::DESTROY_OTHERS),
    delete!(accounts!("sessions/{id}/"), "Session Instance", sessions::destroy)
        .bearer().docs(&sessions::DESTROY),

    get!(accounts!("email/undo/{id}/"), "Email Undo", email_undo::confirm)
        .page().docs(&email_undo::CONFIRM),
    post!(accounts!("email/undo/{id}/"), "Email Undo", email_undo::undo)
        .auth(Auth::OptionalBearer).docs(&email_undo::UNDO),

    get!("/media/photos/{id}", "Photo", photos::retrieve).docs(&photos::RETRIEVE),
    get!("/.well-known/jwks.json", "Key Set", discovery::key_set)
        .for_any_origin().docs(&discovery::KEY_SET),
    get!("/.well-known/openid-configuration", "Discovery", discovery::metadata)
        .for_any_origin().docs(&discovery::METADATA),
    get!("/api/schema/", "Schema", openapi::retrieve).docs(&openapi::RETRIEVE),
    get!("/api/docs/", "Docs", docs::retrieve).page().docs(&docs::RETRIEVE),

    get!("/healthz", "Health", health::live)
        .exposed_to(Exposure::Monitoring).docs(&health::LIVE),
    get!("/readyz", "Readiness", health::ready)
        .exposed_to(Exposure::Monitoring).docs(&health::READY),
    get!("/metrics", "Metrics", metrics::retrieve)
        .exposed_to(Exposure::Metrics).docs(&metrics::RETRIEVE),

    get!("/dev/mail/", "Development Inbox", dev::inbox)
        .exposed_to(Exposure::Development).docs(&dev::INBOX),
    get!("/dev/clock/", "Development Clock", dev::clock)
        .exposed_to(Exposure::Development).docs(&dev::READ_CLOCK),
    post!("/dev/clock/", "Development Clock", dev::advance_clock)
        .exposed_to(Exposure::Development).docs(&dev::ADVANCE_CLOCK),
    post!("/dev/reset/", "Development Reset", dev::reset)
        .exposed_to(Exposure::Development).docs(&dev::RESET),
];

const _: () = assert!(
    ROUTES.len() < MAX_ROUTES,
    "the metrics have room for every path"
);

/// The part of a path between two slashes.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    /// A user id or `me`; judged by the handler, after the token.
    Pk,
    /// Any text but nothing.
    Id,
}

/// A path with its routes.
pub(super) struct Path {
    /// Its place in [`paths`], which names it in the metrics.
    pub(super) number: usize,
    segments: Vec<Segment>,
    routes: Vec<&'static Route>,
    /// The value of the `Allow` header.
    pub(super) allow: HeaderValue,
}

impl Path {
    /// The path as the table spells it.
    pub(super) fn pattern(&self) -> &'static str {
        self.routes[0].path
    }

    /// What `OPTIONS` calls it.
    pub(super) fn name(&self) -> &'static str {
        self.routes[0].name
    }

    pub(super) fn exposure(&self) -> Exposure {
        self.routes[0].exposure
    }

    /// Whether pages of any origin may read its answers.
    pub(super) fn is_for_any_origin(&self) -> bool {
        self.routes.iter().all(|route| route.for_any_origin)
    }

    pub(super) fn routes(&self) -> &[&'static Route] {
        &self.routes
    }

    /// The route of a method; `HEAD` is that of `GET`.
    pub(super) fn route(&self, method: &Method) -> Option<&'static Route> {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let mut routes = self.routes.iter();
        routes.find(|route| route.method == *method).copied()
    }

    /// Whether even an unknown method needs a token here, because all known ones do.
    pub(super) fn needs_token(&self) -> bool {
        self.routes.iter().all(|route| route.auth == Auth::Bearer)
    }

    /// Place of the `{pk}` segment, counted from 0 behind the first slash.
    pub(super) fn pk_index(&self) -> Option<usize> {
        self.segments
            .iter()
            .position(|segment| *segment == Segment::Pk)
    }

    fn matches(&self, path: &str) -> bool {
        self.segments
            .iter()
            .zip(path.split('/'))
            .all(|(known, segment)| match known {
                Segment::Literal(literal) => *literal == segment,
                Segment::Pk | Segment::Id => !segment.is_empty(),
            })
    }
}

/// All paths, in the order of the table.
pub(super) fn paths() -> &'static [Path] {
    static PATHS: LazyLock<Vec<Path>> = LazyLock::new(|| {
        let mut paths: Vec<Path> = Vec::new();
        for route in ROUTES {
            if let Some(path) = paths.iter_mut().find(|path| path.pattern() == route.path) {
                path.routes.push(route);
            } else {
                paths.push(Path {
                    number: paths.len(),
                    segments: trimmed(route.path).split('/').map(segment).collect(),
                    routes: vec![route],
                    allow: HeaderValue::from_static(""),
                });
            }
        }
        for path in &mut paths {
            path.allow = allow(&path.routes);
        }
        paths
    });
    &PATHS
}

/// Number of requests whose path is unknown, in the metrics.
pub(super) fn unknown_path() -> usize {
    paths().len()
}

/// Labels of the paths by their numbers, for the metrics; the last is for unknown paths.
pub(super) fn labels() -> Vec<String> {
    let known = paths()
        .iter()
        .map(|path| format!("/{}", trimmed(path.pattern())));
    known.chain(["none".to_owned()]).collect()
}

/// Finds the path of a request, with or without its trailing slash.
pub(super) fn find(path: &str) -> Option<&'static Path> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let count = path.bytes().filter(|byte| *byte == b'/').count() + 1;
    paths()
        .iter()
        .find(|known| known.segments.len() == count && known.matches(path))
}

fn trimmed(pattern: &'static str) -> &'static str {
    pattern.trim_matches('/')
}

fn segment(text: &'static str) -> Segment {
    match text {
        "{pk}" => Segment::Pk,
        "{id}" => Segment::Id,
        literal => Segment::Literal(literal),
    }
}

/// The methods of a path in the order in which Django REST framework lists them.
fn allow(routes: &[&Route]) -> HeaderValue {
    let has = |method: &Method| routes.iter().any(|route| route.method == *method);
    let order = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let mut names: Vec<&str> = order
        .iter()
        .filter(|method| has(method))
        .map(Method::as_str)
        .collect();
    if has(&Method::GET) {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    HeaderValue::try_from(names.join(", ")).expect("names of methods are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_a_path_agree() {
        for path in paths() {
            for route in path.routes() {
                let twins = path.routes().iter().filter(|r| r.method == route.method);
                assert_eq!(twins.count(), 1, "{} {}", route.method, route.path);
                assert_eq!(route.name, path.name());
                assert_eq!(route.exposure, path.exposure());
            }
        }
    }

    #[test]
    fn paths_are_found_with_and_without_their_slash() {
        for (path, pattern) in [
            ("/healthz", Some("/healthz")),
            ("/healthz/", Some("/healthz")),
            ("/healthz//", None),
            ("healthz", None),
            (
                "/api/v1/accounts/users/abc",
                Some("/api/v1/accounts/users/{pk}/"),
            ),
            ("/api/v1/accounts/users//", None),
            ("/api/v1/accounts/users/1/x", None),
        ] {
            assert_eq!(find(path).map(Path::pattern), pattern, "{path}");
        }
    }

    #[test]
    fn allow_lists_methods_in_the_order_of_django() {
        let path = find("/api/v1/accounts/users/1/").unwrap();
        assert_eq!(path.allow, "GET, PATCH, DELETE, HEAD, OPTIONS");
    }
}
