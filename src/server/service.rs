//! The requests of one connection, between hyper and [`crate::http`]: the connection knows how many
//! are in flight and whether it waits for a body.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::state::Connection;
use crate::app::CurrentApp;
use crate::http::{self as api, Head, Peer, answer};

/// What the requests of a connection have in common.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) current: Arc<CurrentApp>,
    pub(super) peer: Peer,
    /// Whether the connection came to `[metrics] listen`.
    pub(super) is_for_metrics: bool,
}

/// Serves one request.
pub(super) fn serve_request(
    service: Arc<Service>,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody<impl WarpBody>>, Infallible>> + Send {
    let in_flight = InFlight::begin(&connection);
    // `CONNECT` names no path; no route matches this one.
    if request.uri().path_and_query().is_none() {
        *request.uri_mut() = Uri::from_static("/");
    }
    // HTTP/2 has the host elsewhere (RFC 9113, section 8.3.1); handlers know the header.
    if let Some(authority) = request.uri().authority()
        && !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let is_http_1 = request.version() < Version::HTTP_2;
    // Only HTTP/1.0 does without (RFC 9112, section 3.2).
    let lacks_host = request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST);
    let mut head = Head::new(
        request.method().clone(),
        std::mem::take(request.uri_mut()),
        std::mem::take(request.headers_mut()),
        Some(service.peer),
        service.is_for_metrics,
    );
    head.is_host_unclear |= lacks_host;
    let body = WatchedBody {
        body: request.into_body(),
        connection,
        is_stalled: false,
    };
    let answer = answer(service.current.get(), api::Request::new(head, body));
    async move {
        let mut answer = answer.await;
        if is_http_1 && in_flight.0.is_ending() {
            let headers = answer.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answer.map(|body| AnswerBody {
            body,
            _in_flight: in_flight,
        }))
    }
}

/// Counts a request for as long as it lives.
struct InFlight(Arc<Connection>);

impl InFlight {
    fn begin(connection: &Arc<Connection>) -> Self {
        connection.begin_request();
        Self(Arc::clone(connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// The body of warp's answers, whose type has no public name.
pub(super) trait WarpBody: Body<Data = Bytes, Error = warp::Error> + Unpin + Send {}

impl<B: Body<Data = Bytes, Error = warp::Error> + Unpin + Send> WarpBody for B {}

/// The body of an answer; the request is in flight until it is dropped.
pub(super) struct AnswerBody<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B: WarpBody> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request; the connection knows when the server waits for it.
struct WatchedBody {
    body: Incoming,
    connection: Arc<Connection>,
    is_stalled: bool,
}

impl WatchedBody {
    fn note(&mut self, is_stalled: bool) {
        if self.is_stalled != is_stalled {
            self.is_stalled = is_stalled;
            self.connection.note_stall(is_stalled);
        }
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.note(false);
    }
}

impl Stream for WatchedBody {
    type Item = Result<Bytes, api::BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let outcome = Pin::new(&mut self.body).poll_frame(context);
            self.note(outcome.is_pending());
            match ready!(outcome) {
                None => return Poll::Ready(None),
                Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                // Trailers are skipped.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}
