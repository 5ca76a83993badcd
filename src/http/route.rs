//! What the table of routes is made of: routes, and the paths that they share.
//!
//! Which routes there are is in [`router`](super::router).

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method};
use warp::reply::Response;

use super::error::ApiError;
use super::operation::Operation;
use super::request::Request;
use crate::app::SharedApp;
use crate::observability::metrics::Action;

/// What a handler returns.
pub(super) type HandlerResult = Result<Response, ApiError>;

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
    /// Everybody, on the main address, unless `[pages] enabled` is false.
    Pages,
    /// Everybody, on the main address, unless `[pages] enabled` or `[console] enabled` is false.
    Console,
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
    /// The JSON bodies of RFC 6749.
    OAuth,
    /// A page for a person at a browser.
    Page,
}

/// Pages of which other origins may read the answers of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Those of `[server] cors_origins`.
    Configured,
    /// Those of the redirect URIs of clients. The route reads no cookie.
    Clients,
    /// Any.
    Any,
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
    pub(super) readers: Readers,
    /// Whether forms of other sites may be sent to it: it reads no cookie and only stores them.
    pub(super) is_sent_from_elsewhere: bool,
    /// Whether it serves accounts that still have to set up a second factor.
    pub(super) before_setup: bool,
    /// What the metrics count its requests as.
    pub(super) action: Option<Action>,
    /// Its entry in the OpenAPI document, if it has one.
    pub(super) docs: Option<&'static Operation>,
}

impl Route {
    pub(super) const fn new(
        method: Method,
        path: &'static str,
        name: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            method,
            path,
            name,
            handler,
            auth: Auth::None,
            exposure: Exposure::Public,
            errors: ErrorFormat::Json,
            readers: Readers::Configured,
            is_sent_from_elsewhere: false,
            before_setup: false,
            action: None,
            docs: None,
        }
    }

    pub(super) const fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    pub(super) const fn bearer(self) -> Self {
        self.auth(Auth::Bearer)
    }

    pub(super) const fn exposed_to(mut self, exposure: Exposure) -> Self {
        self.exposure = exposure;
        self
    }

    /// A page for people at a browser.
    pub(super) const fn on_pages(self) -> Self {
        self.exposed_to(Exposure::Pages).page()
    }

    /// A page of the console.
    pub(super) const fn on_console(self) -> Self {
        self.exposed_to(Exposure::Console).page()
    }

    /// Renders errors as pages.
    pub(super) const fn page(mut self) -> Self {
        self.errors = ErrorFormat::Page;
        self
    }

    /// An endpoint that OAuth clients ask.
    pub(super) const fn oauth(mut self) -> Self {
        self.errors = ErrorFormat::OAuth;
        self.readers = Readers::Clients;
        self
    }

    pub(super) const fn for_any_origin(mut self) -> Self {
        self.readers = Readers::Any;
        self
    }

    /// Takes forms of other sites.
    pub(super) const fn sent_from_elsewhere(mut self) -> Self {
        self.is_sent_from_elsewhere = true;
        self
    }

    /// Serves accounts that still have to set up a second factor, too.
    pub(super) const fn before_setup(mut self) -> Self {
        self.before_setup = true;
        self
    }

    pub(super) const fn counted_as(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    pub(super) const fn docs(mut self, operation: &'static Operation) -> Self {
        self.docs = Some(operation);
        self
    }
}

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
    /// Its place among all paths, which names it in the metrics.
    pub(super) number: usize,
    segments: Vec<Segment>,
    routes: Vec<&'static Route>,
    /// The value of the `Allow` header.
    pub(super) allow: HeaderValue,
}

impl Path {
    /// The paths of a table of routes, in its order.
    pub(super) fn all(table: &'static [Route]) -> Vec<Self> {
        let mut paths: Vec<Self> = Vec::new();
        for route in table {
            if let Some(path) = paths.iter_mut().find(|path| path.pattern() == route.path) {
                path.routes.push(route);
            } else {
                paths.push(Self {
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
    }

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

    /// How errors are rendered that concern the path and not one of its methods.
    pub(super) fn errors(&self) -> ErrorFormat {
        self.routes[0].errors
    }

    /// Pages of which other origins may read its answers.
    pub(super) fn readers(&self) -> Readers {
        self.routes[0].readers
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

    /// Its label in the metrics.
    pub(super) fn label(&self) -> String {
        format!("/{}", trimmed(self.pattern()))
    }

    /// Whether it is that of a request, whose path comes without its outer slashes.
    pub(super) fn matches(&self, path: &str) -> bool {
        let count = path.bytes().filter(|byte| *byte == b'/').count() + 1;
        self.segments.len() == count && self.has_segments(path)
    }

    fn has_segments(&self, path: &str) -> bool {
        self.segments
            .iter()
            .zip(path.split('/'))
            .all(|(known, segment)| match known {
                Segment::Literal(literal) => *literal == segment,
                Segment::Pk | Segment::Id => !segment.is_empty(),
            })
    }
}

fn trimmed(pattern: &'static str) -> &'static str {
    pattern.trim_matches('/')
}

fn segment(text: &'static str) -> Segment {
    match text {
        "{pk}" => Segment::Pk,
        "{id}" | "{delivery}" => Segment::Id,
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
