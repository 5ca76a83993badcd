//! The way of a backup that comes or goes through a pipe: what is at the other end may stand still for as long as it likes, and
//! the work is to be broken off nevertheless.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;

use super::Cancel;
use crate::output::{MAX_WRITE, is_ready};

/// How soon it is noticed that the work is to be broken off.
const LOOK: Duration = Duration::from_millis(100);

/// A pipe, or a file, that is waited for only until the work is broken off.
pub struct Pipe {
    // Without a buffer, behind which nobody sees whether there is something to read.
    file: File,
    cancel: Cancel,
}

impl Pipe {
    /// Standard input.
    ///
    /// # Errors
    /// When it is closed.
    pub fn input(cancel: Cancel) -> io::Result<Self> {
        Self::of(io::stdin(), cancel)
    }

    /// Standard output.
    ///
    /// # Errors
    /// When it is closed.
    pub fn output(cancel: Cancel) -> io::Result<Self> {
        Self::of(io::stdout(), cancel)
    }

    /// The file or pipe of that name, to be read.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, cancel: Cancel) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self { file, cancel })
    }

    fn of(stream: impl AsFd, cancel: Cancel) -> io::Result<Self> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        Ok(Self { file, cancel })
    }

    /// Returns when the stream can be read or written, its end and a failure included.
    fn wait(&self, until: PollFlags) -> io::Result<()> {
        loop {
            self.cancel.check()?;
            if is_ready(&self.file, until, LOOK)? {
                return Ok(());
            }
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.file.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        self.file.write(&bytes[..bytes.len().min(MAX_WRITE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
