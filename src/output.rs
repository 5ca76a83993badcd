//! Standard output and standard error, which whoever started the program may have stopped reading.
//!
//! A pipe holds some 64 KiB; a write to a full one waits until somebody reads. Many a program that starts a server reads the
//! first line and never again, and neither requests nor the end of the server are to wait for that.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Most bytes that are written at a time: as many as a pipe that can be written to takes without waiting (`PIPE_BUF`).
pub(crate) const MOST: usize = 4096;

/// Held from the question whether there is room until it is used: both streams may be the same pipe.
static TURN: Mutex<()> = Mutex::new(());

/// A stream that is waited for no longer than its patience lasts: then a write fails with [`ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    patience: Duration,
}

impl<S: AsFd> Patient<S> {
    /// Waits so long for room in the stream.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience }
    }
}

impl<S: AsFd> Write for Patient<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MOST)];
        // Waiting takes no turn: the other stream may have room.
        while has_room(&self.stream, self.patience)? {
            let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Whether a write finds room, or a failure, within this time.
pub(crate) fn has_room(stream: impl AsFd, within: Duration) -> io::Result<bool> {
    is_ready(stream, PollFlags::OUT, within)
}

/// Whether the stream can be read or written within this time; its end and a failure count as well.
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
    fn a_full_pipe_is_not_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut patient = Patient::new(&writer, Duration::ZERO);
        let piece = [b'x'; 10_000];
        let mut written = 0;
        let error = loop {
            match patient.write(&piece) {
                Ok(length) => written += length,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(written >= MOST && !has_room(&writer, Duration::ZERO).unwrap());
        reader.read_exact(&mut vec![0; written]).unwrap();
        assert_eq!(patient.write(b"more").unwrap(), 4);
        drop(reader);
        assert_eq!(
            patient.write(b"more").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }
}
