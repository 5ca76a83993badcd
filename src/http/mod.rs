//! The API over HTTP: how a request becomes an answer.
//!
//! A request is matched by its path first. Then come, in the order of Django REST framework, the
//! token (401), the method (405), and in the handler the right (403), the object (404) and the
//! body (413, 415, 400).
//!
//! ```text
//! router    the table of routes               api       JSON resources, one file each
//! route     what the table is made of         pages     HTML for a person at a browser
//! operation how a handler is documented       openapi   the schema, made from the table
//! oauth     what OAuth clients ask
//! request   head, caller and body             client    who sends a request
//! body      fields from a body                headers   protection in browsers
//! error     errors to status and body         cors      other origins
//! ```
//!
//! Our server calls [`answer`] itself. [`routes`] is the adapter for a program that mounts the
//! API beside its own warp filters: warp tries filters in turn and cannot express the order above,
//! so one filter takes every request.

mod api;
mod body;
mod client;
mod cors;
mod error;
mod headers;
mod links;
mod oauth;
mod openapi;
mod operation;
mod pages;
mod qr_code;
mod reply;
mod request;
mod route;
mod router;
mod spreadsheet;
mod text_encoding;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{ALLOW, CONNECTION, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body::Body as _;
use serde_json::json;
use tokio::sync::Semaphore;
use warp::Filter;
use warp::reply::Response;

use crate::accounts;
use crate::app::{App, CurrentApp, SharedApp};
use crate::clock::Stopwatch;
use crate::observability::metrics::ActionOutcome;
use crate::observability::request_id;
#[cfg(feature = "fuzzing")]
pub(crate) use body::read_fields;
#[cfg(feature = "fuzzing")]
pub(crate) use client::forwarded_for;
use error::ApiError;
pub(crate) use links::links;
use oauth::error::OAuthError;
pub(crate) use request::{BodyError, Head, Request};
use route::{Auth, ErrorFormat, Exposure, HandlerResult, Path, Readers};

/// The peer of a connection, in the extensions of every request for [`routes`].
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// How long a throttled client waits for its 429 or 503. A person does not notice; a client that
/// retries without pause would otherwise be served as often as the others, and take their time.
const REFUSAL_DELAY: Duration = Duration::from_millis(50);

/// Most delayed refusals at a time; more are sent at once.
static DELAYED_REFUSALS: Semaphore = Semaphore::const_new(256);

/// Bytes of an answer that no memory is reserved for.
const SMALL_ANSWER: usize = 16 * 1024;

/// The error of a request without exactly one host (RFC 9112, section 3.2, asks for this 400).
const ONE_HOST: &str = "A request has to have one Host header.";

/// Whether browsers can use a console of this server: it has one, and its public URL keeps
/// passwords safe.
pub(crate) fn has_console(app: &App) -> bool {
    pages::console::is_enabled(app) && pages::are_safe_at(&app.public_url)
}

/// The address of the page that makes the first staff account.
pub(crate) fn setup_url(app: &App, token: &str) -> String {
    pages::console::setup::url(app, token)
}

/// Every path of the API as one warp filter, to serve or to mount in another program.
///
/// The client's address comes from a [`Peer`] in the request's extensions; without one it counts
/// as `0.0.0.0`.
pub fn routes(
    app: SharedApp,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let app = Arc::new(CurrentApp::new(app));
    warp::any()
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::body::stream())
        .then(
            move |method, path: warp::path::FullPath, query: String, headers, peer, body| {
                let uri = format!("{}?{query}", path.as_str());
                // Both are parts of one that was parsed already.
                let uri = Uri::try_from(uri).unwrap_or_default();
                let head = Head::new(method, uri, headers, peer, false);
                answer(app.get(), Request::from_stream(head, body))
            },
        )
        .or_else(|rejection| async move {
            // None of the filters above rejects a request; one that does is a bug.
            log::error!("a request was rejected: {rejection:?}");
            Ok::<_, Infallible>((ApiError::internal("rejected").into_response(""),))
        })
}

/// Answers a request. Every line of the log on the way carries its id.
pub(crate) async fn answer(app: SharedApp, request: Request) -> Response {
    request_id::scope(request.id, answer_under_id(app, request)).await
}

async fn answer_under_id(app: SharedApp, mut request: Request) -> Response {
    let stopwatch = Stopwatch::start();
    let path = router::find(request.head.path())
        .filter(|path| is_visible(&app, &request, path.exposure()));
    let route = path.and_then(|path| path.route(&request.head.method));
    let outcome = AssertUnwindSafe(dispatch(&app, path, &mut request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(ApiError::internal("a handler panicked")));
    // Not for HEAD, which does nothing that is counted.
    if let Some(action) = route.and_then(|route| route.action) {
        let outcome = outcome.as_ref().map_or_else(ApiError::outcome, |response| {
            // A page may say that an action failed.
            let failure = response.extensions().get::<ActionOutcome>();
            failure.copied().unwrap_or(ActionOutcome::Done)
        });
        app.metrics.count_action(action, outcome);
    }
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => {
            error.log();
            // A delayed refusal keeps its connection, so their number is limited.
            if error.is_refusal()
                && let Ok(_permit) = DELAYED_REFUSALS.try_acquire()
            {
                tokio::time::sleep(REFUSAL_DELAY).await;
            }
            match error_format(&app, path, &request) {
                ErrorFormat::Page => pages::error(&app, &request, error).await,
                ErrorFormat::OAuth => OAuthError::from(error).into_response(request.id.as_str()),
                ErrorFormat::Json => error.into_response(request.id.as_str()),
            }
        }
    };
    pages::hand_over_session(&app, &request, &mut response);
    if let Err(error) = hold(&app, &request, &mut response) {
        error.log();
        response = error.into_response(request.id.as_str());
    }
    // A client that is still sending would see a broken connection instead of the answer.
    let is_drained = request.drain(&app.config.server).await;
    let headers = response.headers_mut();
    if !is_drained {
        // hyper leaves it out of HTTP/2, which has other means.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(id) = HeaderValue::from_str(request.id.as_str()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers::protect(headers, app.public_url.starts_with("https://"));
    if let Some(path) = path {
        headers.insert(ALLOW, path.allow.clone());
    }
    let readers = path.map_or(Readers::Configured, Path::readers);
    let is_of_client = readers == Readers::Clients && oauth::is_for_origin(&app, &request).await;
    let readers = (readers, is_of_client);
    let headers = response.headers_mut();
    cors::allow(&app.config.server, readers, &request.head, headers);
    app.metrics.count_answer(
        path.map_or_else(router::unknown_path, |path| path.number),
        request.head.method.as_str(),
        response.status().as_u16(),
        stopwatch.elapsed(),
    );
    // The pattern and not the path: a path may hold the secret of a link, or anything a stranger
    // likes to see in a log.
    log::debug!(
        "{} {} -> {}",
        request.head.method,
        path.map_or("unknown path", Path::pattern),
        response.status().as_u16()
    );
    response
}

/// How errors are rendered: as pages on the paths of pages, also by a method they do not have, and to
/// a browser that looks for one that does not exist.
fn error_format(app: &SharedApp, path: Option<&'static Path>, request: &Request) -> ErrorFormat {
    match path {
        Some(path) => {
            let route = path.route(&request.head.method);
            route.map_or_else(|| path.errors(), |route| route.errors)
        }
        None if pages::may_be_meant(app, &request.head) => ErrorFormat::Page,
        None => ErrorFormat::Json,
    }
}

/// Reserves the memory of a large answer until it is sent.
///
/// # Errors
/// 503 when the client's network, or all together, leave too much unread.
fn hold(app: &SharedApp, request: &Request, response: &mut Response) -> Result<(), ApiError> {
    let size = response.body().size_hint().exact().unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size <= SMALL_ANSWER || response.extensions().get::<reply::IsHeld>().is_some() {
        return Ok(());
    }
    let mut reservation = request::reservation(app, &request.head);
    reservation
        .grow(size)
        .map_err(|e| ApiError::Overloaded(e.to_string()))?;
    let mut body = std::mem::take(response.body_mut());
    // Our answers are in memory as one piece.
    let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
    let frame = frame.now_or_never().flatten().and_then(Result::ok);
    let bytes = frame.and_then(|frame| frame.into_data().ok());
    let bytes = bytes.unwrap_or_default();
    *response.body_mut() = reply::held(bytes, reservation).into();
    Ok(())
}

/// Whether a path exists for this request.
fn is_visible(app: &SharedApp, request: &Request, exposure: Exposure) -> bool {
    match exposure {
        Exposure::Public => !request.head.is_for_metrics,
        Exposure::Pages => !request.head.is_for_metrics && pages::are_enabled(app),
        Exposure::Console => !request.head.is_for_metrics && pages::console::is_enabled(app),
        Exposure::Monitoring => true,
        Exposure::Metrics if request.head.is_for_metrics => true,
        Exposure::Metrics => app.config.metrics.listen.is_none() && client::is_local(&request.head),
        Exposure::Development => !request.head.is_for_metrics && api::dev::is_visible(app, request),
    }
}

async fn dispatch(
    app: &SharedApp,
    path: Option<&'static Path>,
    request: &mut Request,
) -> HandlerResult {
    if request.head.is_host_unclear {
        return Err(ApiError::BadRequest(ONE_HOST.to_owned()));
    }
    let Some(path) = path else {
        return pages::home(app, &request.head)
            .await
            .unwrap_or(Err(ApiError::NotFound));
    };
    request.pk_index = path.pk_index();
    if path.errors() == ErrorFormat::Page && request.head.method != Method::GET {
        request.page = router::page_above(request.head.path());
    }
    if request.head.method == Method::OPTIONS {
        return Ok(describe(path));
    }
    let Some(route) = path.route(&request.head.method) else {
        if path.needs_token() {
            request.authenticate(app).await?;
        }
        let method = request.head.method.to_string();
        return Err(ApiError::MethodNotAllowed(method));
    };
    request.caller = match route.auth {
        Auth::None => None,
        Auth::OptionalBearer => request.authenticate_if_possible(app).await?,
        Auth::Bearer => {
            let caller = request.authenticate(app).await?;
            if !route.before_setup {
                accounts::require_setup(app, &caller)?;
            }
            Some(caller)
        }
    };
    // What clients ask takes no cookie, and is for their pages too.
    if route.exposure == Exposure::Public
        && route.readers != Readers::Clients
        && !route.is_sent_from_elsewhere
        && cors::is_cross_site(&app.config.server, &app.public_url, &request.head)
    {
        log::debug!("a page of another origin was refused");
        return Err(ApiError::Forbidden);
    }
    (route.handler)(app, request).await
}

/// The answer to `OPTIONS`, with the members of Django REST framework's `SimpleMetadata`.
fn describe(path: &Path) -> Response {
    reply::json(
        StatusCode::OK,
        &json!({
            "name": path.name(),
            "description": "",
            "renders": ["application/json"],
            "parses": [
                "application/json",
                "application/x-www-form-urlencoded",
                "multipart/form-data",
            ],
        }),
    )
}
