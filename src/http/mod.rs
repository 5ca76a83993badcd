//! The API over HTTP: the table of resources, and the way of every request through it.
//!
//! A request is matched by its path first. Then come, in this order and as Django REST framework does it: the token
//! (401), the method (405), and in the handler the right (403), the object (404) and the body (413, 415, 400). warp
//! carries the requests; because that order is not the one in which its filters are tried, one filter takes every
//! request and the table below decides.

mod body;
mod client;
mod cors;
mod dev;
mod docs;
mod email_undo;
mod error;
mod events;
mod guard;
mod html;
mod links;
mod media;
mod meta;
mod operation;
mod otp;
mod pagination;
mod passwords;
mod reply;
mod request;
mod schema;
mod sessions;
mod staff;
mod tokens;
mod users;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::futures::TaskLocalFuture;
use warp::Filter;
use warp::reply::Response;

use crate::app::{CurrentApp, SharedApp};
use crate::clock::Stopwatch;
use crate::observability::metrics::{Action, Ending, MOST_ROUTES};
use crate::observability::request_id;
pub(crate) use body::read_fields;
pub(crate) use client::forwarded_for;
use error::ApiError;
pub(crate) use links::links;
use operation::Operation;
pub(crate) use request::Head;
use request::Request;

/// The peer of a connection, to be put into the extensions of every request by whoever mounts [`routes`].
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What a handler gives back.
type HandlerResult = Result<Response, ApiError>;

/// A handler of one method of one resource.
type Handler = for<'a> fn(&'a SharedApp, &'a mut Request) -> BoxFuture<'a, HandlerResult>;

/// Who may come to a resource at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everybody; an `Authorization` header is not looked at, or only by the handler.
    Open,
    /// Only with a good access token.
    Token,
}

/// A path and what can be done there.
struct Resource {
    /// Segments of the path; `{pk}` stands for a number or `me`, `{id}` for anything but nothing.
    path: &'static [&'static str],
    /// What `OPTIONS` calls it.
    name: &'static str,
    access: Access,
    methods: &'static [(Method, Handler, &'static Operation)],
}

macro_rules! handler {
    ($function:path) => {
        |app, request| Box::pin($function(app, request))
    };
}

/// Every path that is served.
static RESOURCES: &[Resource] = &[
    Resource {
        path: &["api", "v1", "accounts", "users"],
        name: "User List",
        access: Access::Open,
        methods: &[
            (Method::GET, handler!(staff::list), &staff::LIST),
            (Method::POST, handler!(users::create), &users::CREATE),
        ],
    },
    Resource {
        path: &["api", "v1", "accounts", "users", "{pk}"],
        name: "User Instance",
        access: Access::Token,
        methods: &[
            (Method::GET, handler!(users::retrieve), &users::RETRIEVE),
            (
                Method::PATCH,
                handler!(users::partial_update),
                &users::PARTIAL_UPDATE,
            ),
            (Method::DELETE, handler!(users::destroy), &users::DESTROY),
        ],
    },
    Resource {
        path: &["api", "v1", "accounts", "users", "{pk}", "events"],
        name: "Event List",
        access: Access::Token,
        methods: &[(Method::GET, handler!(events::list), &events::LIST)],
    },
    Resource {
        path: &["api", "v1", "accounts", "otp", "verify"],
        name: "Otp Verify",
        access: Access::Open,
        methods: &[(Method::POST, handler!(otp::verify), &otp::VERIFY)],
    },
    Resource {
        path: &["api", "v1", "accounts", "otp", "resend"],
        name: "Otp Resend",
        access: Access::Open,
        methods: &[(Method::POST, handler!(otp::resend), &otp::RESEND)],
    },
    Resource {
        path: &["api", "v1", "accounts", "token"],
        name: "Token Obtain Pair",
        access: Access::Open,
        methods: &[(Method::POST, handler!(tokens::obtain), &tokens::OBTAIN)],
    },
    Resource {
        path: &["api", "v1", "accounts", "token", "refresh"],
        name: "Token Refresh",
        access: Access::Open,
        methods: &[(Method::POST, handler!(tokens::refresh), &tokens::RENEW)],
    },
    Resource {
        path: &["api", "v1", "accounts", "token", "verify"],
        name: "Token Verify",
        access: Access::Open,
        methods: &[(Method::POST, handler!(tokens::verify), &tokens::CHECK)],
    },
    Resource {
        path: &["api", "v1", "accounts", "token", "blacklist"],
        name: "Token Blacklist",
        access: Access::Open,
        methods: &[(Method::POST, handler!(tokens::blacklist), &tokens::END)],
    },
    Resource {
        path: &["api", "v1", "accounts", "password", "reset"],
        name: "Password Reset",
        access: Access::Open,
        methods: &[(Method::POST, handler!(passwords::reset), &passwords::RESET)],
    },
    Resource {
        path: &["api", "v1", "accounts", "password", "reset", "confirm"],
        name: "Password Reset Confirm",
        access: Access::Open,
        methods: &[(
            Method::POST,
            handler!(passwords::confirm_reset),
            &passwords::CONFIRM_RESET,
        )],
    },
    Resource {
        path: &["api", "v1", "accounts", "password", "change"],
        name: "Password Change",
        access: Access::Token,
        methods: &[(
            Method::POST,
            handler!(passwords::change),
            &passwords::CHANGE,
        )],
    },
    Resource {
        path: &["api", "v1", "accounts", "sessions"],
        name: "Session List",
        access: Access::Token,
        methods: &[
            (Method::GET, handler!(sessions::list), &sessions::LIST),
            (
                Method::DELETE,
                handler!(sessions::destroy_others),
                &sessions::DESTROY_OTHERS,
            ),
        ],
    },
    Resource {
        path: &["api", "v1", "accounts", "sessions", "{id}"],
        name: "Session Instance",
        access: Access::Token,
        methods: &[(
            Method::DELETE,
            handler!(sessions::destroy),
            &sessions::DESTROY,
        )],
    },
    Resource {
        path: &["api", "v1", "accounts", "email", "undo", "{id}"],
        name: "Email Undo",
        access: Access::Open,
        methods: &[
            (Method::GET, handler!(email_undo::ask), &email_undo::ASK),
            (Method::POST, handler!(email_undo::act), &email_undo::ACT),
        ],
    },
    Resource {
        path: &["media", "photos", "{id}"],
        name: "Photo",
        access: Access::Open,
        methods: &[(Method::GET, handler!(media::photo), &media::PHOTO)],
    },
    Resource {
        path: &[".well-known", "jwks.json"],
        name: "Key Set",
        access: Access::Open,
        methods: &[(Method::GET, handler!(meta::key_set), &meta::KEY_SET)],
    },
    Resource {
        path: &["api", "schema"],
        name: "Schema",
        access: Access::Open,
        methods: &[(Method::GET, handler!(schema::retrieve), &schema::RETRIEVE)],
    },
    Resource {
        path: &["api", "docs"],
        name: "Docs",
        access: Access::Open,
        methods: &[(Method::GET, handler!(docs::retrieve), &docs::RETRIEVE)],
    },
    Resource {
        path: &["healthz"],
        name: "Health",
        access: Access::Open,
        methods: &[(Method::GET, handler!(meta::health), &meta::HEALTH)],
    },
    Resource {
        path: &["readyz"],
        name: "Readiness",
        access: Access::Open,
        methods: &[(Method::GET, handler!(meta::ready), &meta::READY)],
    },
    Resource {
        path: &["metrics"],
        name: meta::METRICS,
        access: Access::Open,
        methods: &[(Method::GET, handler!(meta::metrics), &meta::FIGURES)],
    },
    Resource {
        path: &["dev", "mail"],
        name: "Development Inbox",
        access: Access::Open,
        methods: &[(Method::GET, handler!(dev::inbox), &dev::INBOX)],
    },
    Resource {
        path: &["dev", "clock"],
        name: "Development Clock",
        access: Access::Open,
        methods: &[
            (Method::GET, handler!(dev::clock), &dev::READ_CLOCK),
            (
                Method::POST,
                handler!(dev::advance_clock),
                &dev::ADVANCE_CLOCK,
            ),
        ],
    },
    Resource {
        path: &["dev", "reset"],
        name: "Development Reset",
        access: Access::Open,
        methods: &[(Method::POST, handler!(dev::reset), &dev::RESET)],
    },
];

/// How long whoever asks too much waits for being told so. At once for a person; but a client that asks again without pause
/// would otherwise be served as often as the others are, and take their time.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// Places for refusals that pause; beyond them they are told at once.
static PAUSES: Semaphore = Semaphore::const_new(256);

/// What is said to a request that is not for one host (RFC 9112, section 3.2, asks for this 400).
const ONE_HOST: &str = "A request has to have one Host header.";

/// An answer to a request whose head was handed over.
pub(crate) type HandingOver<F> = TaskLocalFuture<Arc<Head>, F>;

tokio::task_local! {
    static HANDED_OVER: Arc<Head>;
}

/// Has [`routes`] answer a request of this head, whatever the request itself says.
pub(crate) fn handing_over<F: Future>(head: Head, answer: F) -> HandingOver<F> {
    HANDED_OVER.scope(Arc::new(head), answer)
}

/// The number of requests that no route is for.
const NO_ROUTE: usize = RESOURCES.len();
const _: () = assert!(NO_ROUTE < MOST_ROUTES, "figures have room for every route");

/// Every path of the API, as one warp filter that answers every request: to serve, or to mount in another program.
///
/// The client's address comes from a [`Peer`] in the request's extensions; without one it counts as `0.0.0.0`.
pub fn routes(
    app: SharedApp,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    routes_of(Arc::new(CurrentApp::new(app)))
}

/// As [`routes`], of an application that may be replaced.
pub fn routes_of(
    current: Arc<CurrentApp>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let taken_apart = warp::any()
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .map(
            |method, path: warp::path::FullPath, query: String, headers, peer| {
                let uri = format!("{}?{query}", path.as_str());
                // Both are parts of one that was parsed already.
                let uri = Uri::try_from(uri).unwrap_or_default();
                Arc::new(Head::new(method, uri, headers, peer, false))
            },
        );
    // Our own server brings it along in one piece: seven filters and a copy of the headers cost as much as an answer, and
    // extensions a third of that.
    let handed_over = warp::any().and_then(async || {
        HANDED_OVER
            .try_with(Arc::clone)
            .map_err(|_| warp::reject::not_found())
    });
    let head = handed_over.or(taken_apart).unify();
    head.and(warp::body::stream())
        .then(move |head, body| answer(current.get(), Request::new(head, body)))
        .or_else(|rejection| async move {
            // None of the filters above can refuse a request; should one learn to, it is a fault of ours.
            log::error!("a request was rejected: {rejection:?}");
            Ok::<_, Infallible>((ApiError::internal("rejected").into_response(""),))
        })
}

/// Takes one request to its answer; every line of the log on the way names it.
async fn answer(app: SharedApp, request: Request) -> Response {
    request_id::scope(request.id, answer_under_id(app, request)).await
}

async fn answer_under_id(app: SharedApp, mut request: Request) -> Response {
    let stopwatch = Stopwatch::start();
    let (route, resource) = find(&mut request)
        .filter(|(_, resource)| is_visible(&app, &request, resource))
        .map_or((NO_ROUTE, None), |(route, resource)| {
            (route, Some(resource))
        });
    let outcome = AssertUnwindSafe(dispatch(&app, resource, &mut request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(ApiError::internal("a handler panicked")));
    if let Some(action) = resource.and_then(|resource| action_of(resource, &request.head.method)) {
        let ending = outcome
            .as_ref()
            .map_or_else(ApiError::ending, |_| Ending::Done);
        app.metrics.count_action(action, ending);
    }
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => {
            error.log();
            // Whoever pauses keeps a connection, so not everybody may.
            if error.is_refusal()
                && let Ok(_pausing) = PAUSES.try_acquire()
            {
                tokio::time::sleep(REFUSAL_PAUSE).await;
            }
            error.into_response(request.id.as_str())
        }
    };
    // Who is still sending would see a broken connection instead of the answer.
    request.drain(&app.config.server).await;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request.id.as_str()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    guard::protect(headers, app.public_url.starts_with("https://"));
    if let Some(allow) = allow(route) {
        headers.insert(ALLOW, allow);
    }
    cors::allow(
        &app.config.server.cors_origins,
        &request.head.method,
        &request.head.headers,
        headers,
    );
    app.metrics.count_answer(
        route,
        request.head.method.as_str(),
        response.status().as_u16(),
        stopwatch.elapsed(),
    );
    // The name and not the path: a path may hold the secret of a link, or whatever a stranger wants to see in a log.
    log::debug!(
        "{} {} -> {}",
        request.head.method,
        resource.map_or("no such path", |resource| resource.name),
        response.status().as_u16()
    );
    response
}

/// What figures count a request as.
fn action_of(resource: &Resource, method: &Method) -> Option<Action> {
    let mut methods = resource.methods.iter();
    let (_, _, operation) = methods.find(|(known, _, _)| known == method)?;
    operation.action
}

/// The names of all routes by their numbers, for figures; the last is of requests that no route is for.
fn route_names() -> Vec<String> {
    let path = |resource: &Resource| format!("/{}", resource.path.join("/"));
    let routes = RESOURCES.iter().map(path);
    routes.chain(["none".to_owned()]).collect()
}

/// Whether this client may know of the resource.
fn is_visible(app: &SharedApp, request: &Request, resource: &Resource) -> bool {
    if request.head.is_for_metrics {
        return meta::is_about_the_server(resource.path);
    }
    if dev::is_development(resource.path) {
        return dev::is_visible(app, request);
    }
    match resource.name {
        meta::METRICS => meta::are_metrics_visible(app, request),
        _ => true,
    }
}

async fn dispatch(
    app: &SharedApp,
    resource: Option<&'static Resource>,
    request: &mut Request,
) -> HandlerResult {
    if request.head.is_host_unclear {
        return Err(ApiError::BadRequest(ONE_HOST.to_owned()));
    }
    let resource = resource.ok_or(ApiError::NotFound)?;
    if request.head.method == Method::OPTIONS {
        return Ok(describe(resource));
    }
    if resource.access == Access::Token {
        request.caller = Some(request.authenticate(app).await?);
    }
    let method = if request.head.method == Method::HEAD {
        &Method::GET
    } else {
        &request.head.method
    };
    let handler = resource
        .methods
        .iter()
        .find_map(|(known, handler, _)| (known == method).then_some(handler))
        .ok_or_else(|| ApiError::MethodNotAllowed(request.head.method.to_string()))?;
    handler(app, request).await
}

/// Finds the resource of a path, with or without its trailing slash, and notes the number in it. Gives its place in the
/// table, too.
fn find(request: &mut Request) -> Option<(usize, &'static Resource)> {
    let path = request.head.path().strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let count = path.bytes().filter(|byte| *byte == b'/').count() + 1;
    let (route, resource, pk) = RESOURCES.iter().enumerate().find_map(|(route, resource)| {
        if resource.path.len() != count {
            return None;
        }
        let mut pk = None;
        let matches =
            resource
                .path
                .iter()
                .zip(path.split('/'))
                .all(|(known, segment)| match *known {
                    "{pk}" => {
                        pk = request::Pk::parse(segment);
                        pk.is_some()
                    }
                    "{id}" => !segment.is_empty(),
                    literal => literal == segment,
                });
        matches.then_some((route, resource, pk))
    })?;
    request.pk = pk;
    Some((route, resource))
}

/// The header that names the methods of the resource with this number, written once for each.
fn allow(route: usize) -> Option<HeaderValue> {
    static ALLOW: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
        let written = RESOURCES
            .iter()
            .map(|resource| HeaderValue::try_from(methods(resource)));
        written
            .map(|value| value.expect("names of methods are plain ASCII"))
            .collect()
    });
    ALLOW.get(route).cloned()
}

/// The methods of a resource in the order in which Django REST framework lists them.
fn methods(resource: &Resource) -> String {
    let has = |method: &Method| resource.methods.iter().any(|(known, _, _)| known == method);
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
    names.join(", ")
}

/// The answer to `OPTIONS`, with the members of Django REST framework's `SimpleMetadata`.
fn describe(resource: &Resource) -> Response {
    reply::json(
        StatusCode::OK,
        &json!({
            "name": resource.name,
            "description": "",
            "renders": ["application/json"],
            "parses": ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
        }),
    )
}
