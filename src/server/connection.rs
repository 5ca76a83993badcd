//! One connection from its acceptance to its end.
//!
//! Idle connections cost little: hyper, its buffers and the future of a request exist only while
//! there is something to read. A connection that has been idle for a moment is parked: hyper lets
//! go of it, and only a socket waits.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::answers;
use super::service::{Service, serve_request};
use super::state::{Command, Connection, Phase};
use super::stream::{LentStream, ReturnSlot, Returned, Stream};
use super::table::Place;
use super::tls::Tls;

/// The first byte of a connection that starts with a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The name of HTTP/2 in a TLS handshake (RFC 7301).
const HTTP2: &[u8] = b"h2";

/// The start of HTTP/2 without TLS (RFC 9113, section 3.4); no request of HTTP/1 has it.
const HTTP2_PREFACE: &[u8; 4] = b"PRI ";

/// The protocols of a connection.
pub(super) struct Protocols {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Serves a connection until it ends.
pub(super) async fn run(place: Place, stream: TcpStream, protocols: Protocols, service: Service) {
    let connection = &place.connection;
    // What lasts for a moment, or is for few connections, is boxed: a parked connection does not
    // keep the room for it.
    let prepared = Box::pin(prepare(connection, stream, protocols.tls.as_deref())).await;
    let Some((mut stream, is_http2)) = prepared else {
        return;
    };
    let service = Arc::new(service);
    let slot = ReturnSlot::default();
    let requests = || {
        let (service, connection) = (Arc::clone(&service), Arc::clone(connection));
        service_fn(move |request| {
            serve_request(Arc::clone(&service), Arc::clone(&connection), request)
        })
    };
    let lend = |stream| {
        let (connection, slot) = (Arc::clone(connection), slot.clone());
        TokioIo::new(LentStream::new(stream, connection, slot, !is_http2))
    };
    if is_http2 {
        connection.multiplex();
        connection.take_buffers();
        let http = protocols.http2.serve_connection(lend(stream), requests());
        let shut_down = http2::Connection::graceful_shutdown;
        Box::pin(serve_http2(connection, http, shut_down)).await;
        connection.free_buffers();
        // The last frame tells the client why the connection ends.
        return match slot.take() {
            Some(Returned { stream, .. }) if connection.command() != Command::Abort => {
                Box::pin(linger(connection, stream)).await;
            }
            _ => {}
        };
    }
    loop {
        connection.take_buffers();
        let http = Box::pin(protocols.http1.serve_connection(lend(stream), requests()));
        let outcome = serve_http1(connection, http).await;
        connection.free_buffers();
        let Some(returned) = slot.take() else {
            // The client has hung up.
            return;
        };
        stream = returned.stream;
        match outcome {
            Outcome::Ended if !returned.is_parked => {
                return Box::pin(linger(connection, stream)).await;
            }
            Outcome::Ended if !connection.is_ending() => connection.enter(Phase::Parked),
            Outcome::Ended => return Box::pin(end(connection, stream, Command::Close)).await,
            Outcome::Commanded(command) => {
                return Box::pin(end(connection, stream, command)).await;
            }
        }
        // Only hyper knows what TLS has read ahead, so the wait starts after hyper has found
        // nothing more.
        tokio::select! {
            biased;
            outcome = stream.readable() => if outcome.is_err() { return },
            command = connection.end_commanded() => {
                return Box::pin(end(connection, stream, command)).await;
            }
        }
    }
}

/// Waits for the first bytes, and makes the TLS handshake if there is one. Returns the socket and
/// whether it speaks HTTP/2, or `None` when the connection has ended.
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
            .map_err(|e: io::Error| log::debug!("a connection was not established: {e}"))
            .ok(),
        // There was no request, so there is nothing to answer.
        _ = connection.end_commanded() => None,
    }
}

/// Serves HTTP/2 until the connection ends.
async fn serve_http2<C, E>(connection: &Connection, http: C, shut_down: impl Fn(Pin<&mut C>))
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut http = pin!(http);
    let mut is_closing = false;
    std::future::poll_fn(|context| {
        connection.watch_commands(context);
        match connection.command() {
            Command::Abort | Command::TimeOut => return Poll::Ready(()),
            Command::Close if !is_closing => {
                is_closing = true;
                shut_down(http.as_mut());
            }
            _ => {}
        }
        http.as_mut().poll(context).map(|outcome| {
            if let Err(e) = outcome {
                log::debug!("a connection was broken: {e}");
            }
        })
    })
    .await;
}

/// Why hyper has let go of the socket.
enum Outcome {
    /// It considers the connection ended.
    Ended,
    /// The command could not wait.
    Commanded(Command),
}

/// Serves HTTP/1 until the connection ends, is parked, or must end at once.
async fn serve_http1<C, E>(connection: &Connection, mut http: Pin<Box<C>>) -> Outcome
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    std::future::poll_fn(|context| {
        connection.watch_commands(context);
        let command = connection.command();
        let is_head_late = command == Command::TimeOut && connection.phase() == Phase::Head;
        if command == Command::Abort || is_head_late {
            return Poll::Ready(Outcome::Commanded(command));
        }
        let mut outcome = http.as_mut().poll(context);
        if outcome.is_pending() && connection.should_park() {
            // hyper knew that there was nothing to read and did not ask, so it does not know yet.
            outcome = http.as_mut().poll(context);
        }
        outcome.map(|outcome| {
            if let Err(e) = outcome {
                log::debug!("a connection was broken: {e}");
            }
            Outcome::Ended
        })
    })
    .await
}

/// Ends a connection without a request in flight.
async fn end(connection: &Connection, mut stream: Stream, command: Command) {
    match command {
        Command::Abort => {}
        Command::TimeOut => {
            connection.enter(Phase::Lingering);
            if stream.write_all(answers::TIMEOUT).await.is_ok() {
                linger(connection, stream).await;
            }
        }
        Command::None | Command::Park | Command::Close => {
            // An idle client has no answer to lose.
            let _ = stream.shutdown().await;
        }
    }
}

/// Lets the client read its last answer.
async fn linger(connection: &Connection, mut stream: Stream) {
    connection.enter(Phase::Lingering);
    let aborted = std::future::poll_fn(|context| {
        connection.watch_commands(context);
        match connection.command() {
            Command::Abort => Poll::Ready(()),
            _ => Poll::Pending,
        }
    });
    tokio::select! {
        _ = stream.finish() => {}
        () = aborted => {}
    }
}
