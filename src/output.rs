//! Writes to standard output and standard error that never block for ever.
//!
//! A pipe holds about 64 KiB; a write to a full one blocks until the other end reads. Some parent
//! processes read the first line of a server and nothing more, so neither requests nor shutdown
//! may depend on that.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Most bytes of a single write. A pipe that polls as writable takes this many without blocking
/// (`PIPE_BUF`).
pub(crate) const MAX_WRITE: usize = 4096;

/// Held from the check for room until the write: both streams may be the same pipe.
static WRITE_LOCK: Mutex<()> = Mutex::new(());

/// A writer that fails with [`ErrorKind::TimedOut`] when the stream has no room within the timeout.
#[derive(Debug)]
pub struct TimeoutWriter<S> {
    stream: S,
    timeout: Duration,
}

impl<S: AsFd> TimeoutWriter<S> {
    /// Wraps a stream; each write waits up to `timeout` for room.
    pub fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout }
    }
}

impl<S: AsFd> Write for TimeoutWriter<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MAX_WRITE)];
        // The lock is not held while waiting: the other stream may have room.
        while has_room(&self.stream, self.timeout)? {
            let _guard = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
            if has_room(&self.stream, Duration::ZERO)? {
                match rustix::io::write(&self.stream, piece) {
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    outcome => return Ok(outcome?),
                }
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a write would succeed or fail, rather than block, within this time.
pub(crate) fn has_room(stream: impl AsFd, within: Duration) -> io::Result<bool> {
    is_ready(stream, PollFlags::OUT, within)
}

/// Whether the stream is ready within this time. End of file and errors count as ready.
pub(crate) fn is_ready(stream: impl AsFd, to: PollFlags, within: Duration) -> io::Result<bool> {
    let within = Timespec::try_from(within).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(&stream, to)], Some(&within)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn write_to_full_pipe_times_out() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut timed = TimeoutWriter::new(&writer, Duration::ZERO);
        let piece = [b'x'; 10_000];
        let mut written = 0;
        let error = loop {
            match timed.write(&piece) {
                Ok(length) => written += length,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(written >= MAX_WRITE && !has_room(&writer, Duration::ZERO).unwrap());
        reader.read_exact(&mut vec![0; written]).unwrap();
        assert_eq!(timed.write(b"more").unwrap(), 4);
        drop(reader);
        assert_eq!(
            timed.write(b"more").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }
}
