//! Reading and writing a backup through a pipe, which may stall: the work can still be cancelled.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;

use super::CancelFlag;
use crate::output::{MAX_WRITE, is_ready};

/// Longest wait before the flag is checked again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A pipe or file whose reads and writes end with an error once the work is cancelled.
pub struct CancellableStream {
    // Unbuffered: a buffer would hide from `poll` whether there is something to read.
    file: File,
    cancel: CancelFlag,
}

impl CancellableStream {
    /// Standard input.
    ///
    /// # Errors
    /// When it is closed.
    pub fn input(cancel: CancelFlag) -> io::Result<Self> {
        Self::duplicate(io::stdin(), cancel)
    }

    /// Standard output.
    ///
    /// # Errors
    /// When it is closed.
    pub fn output(cancel: CancelFlag) -> io::Result<Self> {
        Self::duplicate(io::stdout(), cancel)
    }

    /// Opens a file or named pipe for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, cancel: CancelFlag) -> io::Result<Self> {
        Ok(Self::new(File::open(path)?, cancel))
    }

    /// Wraps an open file, pipe or device.
    pub fn new(file: File, cancel: CancelFlag) -> Self {
        Self { file, cancel }
    }

    fn duplicate(stream: impl AsFd, cancel: CancelFlag) -> io::Result<Self> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        Ok(Self::new(file, cancel))
    }

    /// Waits until the stream is ready. End of file and errors count as ready.
    fn wait(&self, until: PollFlags) -> io::Result<()> {
        loop {
            self.cancel.check()?;
            if is_ready(&self.file, until, POLL_INTERVAL)? {
                return Ok(());
            }
        }
    }
}

impl Read for CancellableStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.file.read(buffer)
    }
}

impl Write for CancellableStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        self.file.write(&bytes[..bytes.len().min(MAX_WRITE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
