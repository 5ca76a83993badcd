//! The bytes of a connection: the socket itself, and the socket as hyper uses it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::state::Connection;

/// Most bytes that are read and discarded after the last answer.
const MOST_DISCARDED: usize = 16 * 1024 * 1024;

/// The socket of a connection.
pub(super) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS; boxed, because its state is large.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Does the same with both kinds of socket.
macro_rules! each {
    ($stream:expr, $inner:ident => $action:expr) => {
        match $stream {
            Stream::Plain($inner) => $action,
            Stream::Encrypted($inner) => $action,
        }
    };
}

impl Stream {
    /// Waits until bytes or the end have come.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            // TLS holds no decrypted bytes back: the caller has read everything.
            Self::Encrypted(stream) => stream.get_ref().0.readable().await,
        }
    }

    /// Ends sending, and reads until the client ends too: closing a socket with unread bytes resets
    /// it, and the client may lose an answer that it has not read yet.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await?;
        let mut scrap = [0; 1024];
        let mut left = MOST_DISCARDED;
        loop {
            let count = self.read(&mut scrap).await?;
            if count == 0 || count > left {
                return Ok(());
            }
            left -= count;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, inner => Pin::new(inner).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, inner => Pin::new(inner).poll_shutdown(context))
    }
}

/// A socket that hyper has given back.
pub(super) struct Returned {
    pub(super) stream: Stream,
    /// Whether hyper was made to let go of it, rather than ending the connection itself.
    pub(super) is_parked: bool,
}

/// Where hyper leaves the socket when it drops it.
#[derive(Clone, Default)]
pub(super) struct ReturnSlot(Arc<Mutex<Option<Returned>>>);

impl ReturnSlot {
    fn put(&self, returned: Returned) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(returned);
    }

    /// The socket; `None` when the client has hung up.
    pub(super) fn take(&self) -> Option<Returned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A socket lent to hyper. Tells the [`Connection`] what comes and goes, reports an end of input to
/// make hyper let go of an idle connection, and gives the socket back when hyper drops it.
pub(super) struct LentStream {
    // `None` only while dropping.
    stream: Option<Stream>,
    connection: Arc<Connection>,
    slot: ReturnSlot,
    /// Whether it may be parked: not with HTTP/2, which closes by a frame.
    can_park: bool,
    /// Whether hyper was made to let go.
    is_parked: bool,
    /// Whether the client has hung up.
    has_ended: bool,
}

impl LentStream {
    pub(super) fn new(
        stream: Stream,
        connection: Arc<Connection>,
        slot: ReturnSlot,
        can_park: bool,
    ) -> Self {
        Self {
            stream: Some(stream),
            connection,
            slot,
            can_park,
            is_parked: false,
            has_ended: false,
        }
    }

    fn stream(&mut self) -> Pin<&mut Stream> {
        Pin::new(
            self.stream
                .as_mut()
                .expect("the socket is given back on drop"),
        )
    }

    fn note_sending<T>(&self, outcome: Poll<T>) -> Poll<T> {
        self.connection.note_sending(outcome.is_pending());
        outcome
    }
}

impl Drop for LentStream {
    fn drop(&mut self) {
        if !self.has_ended
            && let Some(stream) = self.stream.take()
        {
            let is_parked = self.is_parked;
            self.slot.put(Returned { stream, is_parked });
        }
    }
}

impl AsyncRead for LentStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = self.stream().poll_read(context, buffer);
        match outcome {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => self.connection.note_bytes(),
            Poll::Ready(_) => self.has_ended = true,
            Poll::Pending if self.can_park && self.connection.should_park() => {
                self.is_parked = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Pending => {}
        }
        outcome
    }
}

impl AsyncWrite for LentStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream().poll_write(context, bytes);
        self.note_sending(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream().poll_write_vectored(context, slices);
        self.note_sending(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.stream().poll_flush(context);
        self.note_sending(outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The socket outlives hyper's use of it: it is parked or lingers.
        self.poll_flush(context)
    }
}
