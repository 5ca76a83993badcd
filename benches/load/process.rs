//! Server processes: started on a free port, pinned to a core, measured and stopped.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// The server built with this benchmark.
pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_accounts-server");

/// Clock ticks per second in `/proc`, 100 on all common builds of Linux.
const TICKS: f64 = 100.0;

/// Whether processes can be pinned: `taskset` is available, and more than one core.
pub(crate) fn can_pin() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
        && Command::new("taskset")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

static IS_PINNED: AtomicBool = AtomicBool::new(false);

/// Whether this process has a core of its own.
pub(crate) fn is_pinned() -> bool {
    IS_PINNED.load(Ordering::Relaxed)
}

/// Pins this process and its future threads to a core.
pub(crate) fn pin_self(core: usize) {
    let pinned = Command::new("taskset")
        .args(["--all-tasks", "--pid", "--cpu-list"])
        .args([core.to_string(), std::process::id().to_string()])
        .stdout(Stdio::null())
        .status();
    if pinned.is_ok_and(|status| status.success()) {
        IS_PINNED.store(true, Ordering::Relaxed);
    } else {
        eprintln!("this process could not be pinned to core {core}");
    }
}

/// Runs a command of the program on a database.
pub(crate) fn run_command(database: &Path, words: &[&str]) -> io::Result<()> {
    let output = Command::new(SERVER)
        .arg("--db")
        .arg(database)
        .args(words)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr))),
    }
}

/// A server process, killed on drop.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl ServerProcess {
    /// Starts accounts-server with default settings, except for the limits per network, because the
    /// load comes from one address.
    pub(crate) fn accounts(
        database: &Path,
        core: Option<usize>,
        more: &[&str],
    ) -> io::Result<Self> {
        let mails = database.with_extension("mail");
        Self::on(&database.display().to_string(), &mails, core, more)
    }

    /// As [`accounts`](Self::accounts), on any database; mails go into a folder.
    pub(crate) fn on(
        database: &str,
        mails: &Path,
        core: Option<usize>,
        more: &[&str],
    ) -> io::Result<Self> {
        let mut command = command(SERVER, core);
        command
            .args(["--listen", "127.0.0.1:0", "--rate-limits-enabled", "false"])
            .args(["--db", database])
            .args(["--mail-transport", "file", "--mail-dir"])
            .arg(mails)
            .args(more)
            .env("RUST_LOG", "error");
        Self::start(command)
    }

    /// Starts a bare warp handler that answers `bytes` bytes.
    pub(crate) fn bare(bytes: usize, core: Option<usize>) -> io::Result<Self> {
        let this = std::env::current_exe()?;
        let mut command = command(&this.display().to_string(), core);
        command.args(["bare", &bytes.to_string()]);
        Self::start(command)
    }

    fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().unwrap_or_default().parse();
        if let Ok(address) = address {
            return Ok(Self { child, address });
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(io::Error::other(format!(
            "the server did not start: {line:?}"
        )))
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let kib = status.ok().and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        });
        kib.map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// CPU time used so far, in seconds.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let ticks = stat.ok().and_then(|stat| {
            // The name in brackets may contain anything; numbers follow it.
            let numbers = stat.rsplit(')').next()?;
            let mut numbers = numbers.split_whitespace().skip(11);
            let user: f64 = numbers.next()?.parse().ok()?;
            let system: f64 = numbers.next()?.parse().ok()?;
            Some(user + system)
        });
        ticks.map_or(f64::NAN, |ticks| ticks / TICKS)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &str, core: Option<usize>) -> Command {
    let cores = match core {
        Some(core) => core.to_string(),
        // A child inherits the pinning of its parent; cores that do not exist are ignored.
        None if is_pinned() => "0-1023".to_owned(),
        None => return Command::new(program),
    };
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cores, program]);
    command
}
