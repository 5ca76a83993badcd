//! The bytes of a connection: the socket itself, and the socket as hyper holds it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::connections::Connection;

/// Most bytes that are read and thrown away after the last answer.
const MOST_DISCARDED: usize = 16 * 1024 * 1024;

/// The socket of a connection.
pub(super) enum Stream {
    /// Without encryption.
    Plain(TcpStream),
    /// With it; boxed, because its state is large.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Does the same with the socket, encrypted or not.
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
            // Nothing is left over in the decryption: whoever waits has read all that there was.
            Self::Encrypted(stream) => stream.get_ref().0.readable().await,
        }
    }

    /// Says that nothing more will be sent, and takes what still comes until the other side is done too: a socket that is
    /// closed with unread bytes in it is reset, and the other side may lose the answer that it had not read yet.
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

/// The socket in hyper's hands. It tells the connection what comes and goes; lets hyper believe that the other side has
/// hung up when the connection is to rest or to end while it is quiet; and gives the socket back when hyper drops it.
pub(super) struct Lent {
    // `None` only while dropping.
    stream: Option<Stream>,
    connection: Arc<Connection>,
    /// Whether quiet times are pauses: not for HTTP/2, which has its own words for the end.
    may_pause: bool,
    /// Whether hyper was told of a pause.
    is_pause: bool,
    /// Whether the other side has hung up.
    has_ended: bool,
}

impl Lent {
    pub(super) fn new(stream: Stream, connection: Arc<Connection>, may_pause: bool) -> Self {
        Self {
            stream: Some(stream),
            connection,
            may_pause,
            is_pause: false,
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

impl Drop for Lent {
    fn drop(&mut self) {
        // After the true end nobody needs the socket any more.
        if !self.has_ended
            && let Some(stream) = self.stream.take()
        {
            self.connection.put(stream, self.is_pause);
        }
    }
}

impl AsyncRead for Lent {
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
            Poll::Pending if self.may_pause && self.connection.should_pause() => {
                self.is_pause = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Pending => {}
        }
        outcome
    }
}

impl AsyncWrite for Lent {
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
        // The socket outlives hyper's use of it: it rests, or takes what still comes.
        self.poll_flush(context)
    }
}
