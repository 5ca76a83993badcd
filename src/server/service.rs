//! The requests of one connection, on their way between hyper and warp: each brings along who sends it, and the connection
//! knows how many are being answered and whether it waits for a body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::connections::Connection;
use crate::http::{HandingOver, Head, Peer, handing_over};

/// Where the requests of a connection come from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) peer: Peer,
    /// By way of the address for figures.
    pub(super) is_for_metrics: bool,
}

/// A warp service for the requests of one connection.
pub(super) struct Requests<S> {
    service: S,
    connection: Arc<Connection>,
    origin: Origin,
}

impl<S> Requests<S> {
    pub(super) fn new(service: S, connection: Arc<Connection>, origin: Origin) -> Self {
        Self {
            service,
            connection,
            origin,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: tower_service::Service<Request<Watched>, Response = Response<B>> + Clone,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Answering<HandingOver<S::Future>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let under_way = UnderWay::begin(&self.connection);
        // `CONNECT` names no path, which warp takes for granted; there is nothing at ours for it.
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = Uri::from_static("/");
        }
        // HTTP/2 has another place for it (RFC 9113, section 8.3.1); handlers know one.
        if let Some(authority) = request.uri().authority()
            && !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        let is_http_1 = request.version() < Version::HTTP_2;
        // Only HTTP/1.0 does without (RFC 9112, section 3.2).
        let lacks_host =
            request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST);
        let mut head = Head::new(
            request.method().clone(),
            std::mem::take(request.uri_mut()),
            std::mem::take(request.headers_mut()),
            Some(self.origin.peer),
            self.origin.is_for_metrics,
        );
        head.is_host_unclear |= lacks_host;
        let request = request.map(|body| Watched {
            body,
            connection: Arc::clone(&self.connection),
            is_stalled: false,
        });
        // warp's services are always ready.
        Answering {
            answer: handing_over(head, self.service.clone().call(request)),
            under_way: Some(under_way),
            is_http_1,
        }
    }
}

/// Counts a request for as long as it lives.
pub(super) struct UnderWay(Arc<Connection>);

impl UnderWay {
    fn begin(connection: &Arc<Connection>) -> Self {
        connection.begin_request();
        Self(Arc::clone(connection))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

pin_project! {
    /// An answer that is being made.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        under_way: Option<UnderWay>,
        is_http_1: bool,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Answer<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(context));
        let under_way = this.under_way.take();
        let is_last = *this.is_http_1 && under_way.as_ref().is_some_and(|way| way.0.is_ending());
        Poll::Ready(answer.map(|mut answer| {
            if is_last {
                answer
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer.map(|body| Answer {
                body,
                _under_way: under_way,
            })
        }))
    }
}

pin_project! {
    /// The body of an answer; the request is under way until it is dropped.
    pub(super) struct Answer<B> {
        #[pin]
        body: B,
        _under_way: Option<UnderWay>,
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request; the connection knows when it is being waited for.
pub(super) struct Watched {
    body: Incoming,
    connection: Arc<Connection>,
    is_stalled: bool,
}

impl Watched {
    fn note(&mut self, is_stalled: bool) {
        if self.is_stalled != is_stalled {
            self.is_stalled = is_stalled;
            self.connection.note_stall(is_stalled);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.note(false);
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let outcome = Pin::new(&mut self.body).poll_frame(context);
        self.note(outcome.is_pending());
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
