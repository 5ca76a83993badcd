//! One connection from its acceptance to its end.
//!
//! Quiet times cost little: hyper, its buffers and the future of a request exist only while there is something to read.
//! A connection that has been quiet for a moment is let go of by hyper and rests as a socket that waits.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::answers;
use super::connections::{Connection, Order, Phase, Place};
use super::service::{Origin, Requests, Watched};
use super::stream::{Lent, Stream};
use super::tls::Tls;

/// The first byte of a connection that begins with a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The name of HTTP/2 in a TLS handshake (RFC 7301).
const HTTP2: &[u8] = b"h2";

/// What HTTP/2 without encryption begins with (RFC 9113, section 3.4); no request of HTTP/1 does.
const HTTP2_PREFACE: &[u8; 4] = b"PRI ";

/// How a connection is spoken.
pub(super) struct Protocols {
    pub(super) http1: hyper::server::conn::http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    /// Where connections are encrypted.
    pub(super) tls: Option<Arc<Tls>>,
}

/// Serves a connection until it ends.
pub(super) async fn run<S, B>(
    place: Place,
    stream: TcpStream,
    origin: Origin,
    protocols: Protocols,
    service: S,
) where
    S: tower_service::Service<Request<Watched>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = &place.0;
    // What lasts for a moment, or is for few connections, is boxed: a connection that rests does not keep the room for it.
    let prepared = Box::pin(prepare(connection, stream, protocols.tls.as_deref())).await;
    let Some((mut stream, is_http2)) = prepared else {
        return;
    };
    if is_http2 {
        connection.multiplex();
        connection.warm_up();
        let requests = Requests::new(service, Arc::clone(connection), origin);
        let lent = Lent::new(stream, Arc::clone(connection), false);
        let http = protocols
            .http2
            .serve_connection(TokioIo::new(lent), requests);
        let end = http2::Connection::graceful_shutdown;
        Box::pin(serve_http2(connection, http, end)).await;
        connection.cool_down();
        // The last thing that was said is why the connection ends.
        return match connection.take() {
            Some((stream, _)) if connection.order() != Order::Abort => {
                Box::pin(linger(connection, stream)).await;
            }
            _ => {}
        };
    }
    loop {
        connection.warm_up();
        let requests = Requests::new(service.clone(), Arc::clone(connection), origin);
        let lent = Lent::new(stream, Arc::clone(connection), true);
        let http = Box::pin(
            protocols
                .http1
                .serve_connection(TokioIo::new(lent), requests),
        );
        let outcome = serve(connection, http).await;
        connection.cool_down();
        let Some((rest, is_pause)) = connection.take() else {
            // The other side has hung up.
            return;
        };
        stream = rest;
        match outcome {
            Outcome::Ended if !is_pause => return Box::pin(linger(connection, stream)).await,
            Outcome::Ended if !connection.is_ending() => connection.enter(Phase::Resting),
            Outcome::Ended => return Box::pin(end(connection, stream, Order::Close)).await,
            Outcome::Ordered(order) => return Box::pin(end(connection, stream, order)).await,
        }
        // Only hyper knows what the decryption has read ahead, so there is a wait only after hyper has found nothing more.
        tokio::select! {
            biased;
            outcome = stream.readable() => if outcome.is_err() { return },
            order = connection.ordered_to_end() => {
                return Box::pin(end(connection, stream, order)).await;
            }
        }
    }
}

/// Waits for the first bytes, and encrypts the connection where that is wanted. Gives the socket and whether HTTP/2 is
/// spoken, or `None` when the connection has ended.
async fn prepare(
    connection: &Connection,
    stream: TcpStream,
    tls: Option<&Tls>,
) -> Option<(Stream, bool)> {
    let prepared = async {
        let mut first = [0; HTTP2_PREFACE.len()];
        let count = stream.peek(&mut first).await?;
        let Some(tls) = tls else {
            return Ok((Stream::Plain(stream), first == *HTTP2_PREFACE));
        };
        if count > 0 && first[0] != TLS_HANDSHAKE {
            stream.try_write(answers::NOT_ENCRYPTED)?;
            Stream::Plain(stream).finish().await?;
            return Err(io::Error::other("it does not speak TLS"));
        }
        let stream = tls.acceptor().accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((Stream::Encrypted(Box::new(stream)), is_http2))
    };
    tokio::select! {
        prepared = prepared => prepared
            .map_err(|e: io::Error| log::debug!("a connection did not come about: {e}"))
            .ok(),
        // There was no request, so there is nothing to answer.
        _ = connection.ordered_to_end() => None,
    }
}

/// Has hyper serve a connection on which requests come side by side.
async fn serve_http2<C, E>(connection: &Connection, http: C, end: impl Fn(Pin<&mut C>))
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut http = pin!(http);
    let mut is_told = false;
    std::future::poll_fn(|context| {
        connection.watch_orders(context);
        match connection.order() {
            Order::Abort | Order::TimeOut => return Poll::Ready(()),
            Order::Close if !is_told => {
                is_told = true;
                end(http.as_mut());
            }
            _ => {}
        }
        http.as_mut().poll(context).map(|outcome| {
            if let Err(e) = outcome {
                log::debug!("a connection broke off: {e}");
            }
        })
    })
    .await;
}

/// Why hyper has let go of the socket.
enum Outcome {
    /// It takes the connection for ended.
    Ended,
    /// The order could not wait.
    Ordered(Order),
}

/// Has hyper serve a connection until it ends, pauses, or must end at once.
async fn serve<C, E>(connection: &Connection, mut http: Pin<Box<C>>) -> Outcome
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    std::future::poll_fn(|context| {
        connection.watch_orders(context);
        let order = connection.order();
        if order == Order::Abort || (order == Order::TimeOut && connection.phase() == Phase::Head) {
            return Poll::Ready(Outcome::Ordered(order));
        }
        let mut outcome = http.as_mut().poll(context);
        if outcome.is_pending() && connection.should_pause() {
            // hyper knew that there was nothing to read and did not ask, so it has not been told of the pause.
            outcome = http.as_mut().poll(context);
        }
        outcome.map(|outcome| {
            if let Err(e) = outcome {
                log::debug!("a connection broke off: {e}");
            }
            Outcome::Ended
        })
    })
    .await
}

/// Ends a connection on which nothing is being answered.
async fn end(connection: &Connection, mut stream: Stream, order: Order) {
    match order {
        Order::Abort => {}
        Order::TimeOut => {
            connection.enter(Phase::Lingering);
            if stream.write_all(answers::TIMEOUT).await.is_ok() {
                linger(connection, stream).await;
            }
        }
        Order::None | Order::Rest | Order::Close => {
            // Whoever is told so while it is quiet has nothing to lose.
            let _ = stream.shutdown().await;
        }
    }
}

/// Lets the other side read its last answer.
async fn linger(connection: &Connection, mut stream: Stream) {
    connection.enter(Phase::Lingering);
    let aborted = std::future::poll_fn(|context| {
        connection.watch_orders(context);
        match connection.order() {
            Order::Abort => Poll::Ready(()),
            _ => Poll::Pending,
        }
    });
    tokio::select! {
        _ = stream.finish() => {}
        () = aborted => {}
    }
}
