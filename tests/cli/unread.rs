//! Output that nobody reads: some parent processes read the first line and nothing more.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::thread;

use serde_json::Value;

use crate::client::Client;
use crate::support::{folder, program};

/// A server whose output goes to pipes that only the test reads.
struct Unread {
    child: Child,
    client: Client,
    // Open for as long as the server runs.
    _stdout: Option<PipeReader>,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Unread {
    /// Starts a server with standard error in the pipe of standard output or in a separate one, and
    /// returns the pipe with the log.
    fn start(dir: &std::path::Path, arguments: &[&str], is_one_pipe: bool) -> (Self, PipeReader) {
        let (stdout, writer) = io::pipe().unwrap();
        let (stderr, error_writer) = io::pipe().unwrap();
        let mut command = program(
            dir,
            &["--dev", "--db", "users.db", "--listen", "127.0.0.1:0"],
        );
        command.args(arguments).env("RUST_LOG", "debug");
        if is_one_pipe {
            command.stderr(Stdio::from(writer.try_clone().unwrap()));
        } else {
            command.stderr(Stdio::from(error_writer));
        }
        let child = command.stdout(Stdio::from(writer)).spawn().unwrap();
        drop(command);
        let mut output = BufReader::new(stdout);
        let address = loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            if let Some((_, address)) = line.trim_end().split_once("listening on http://") {
                break address.parse::<SocketAddr>().unwrap();
            }
        };
        let client = Client::new(address);
        let stdout = output.into_inner();
        let (stdout, pipe) = match is_one_pipe {
            true => (None, stdout),
            false => (Some(stdout), stderr),
        };
        let server = Self {
            child,
            client,
            _stdout: stdout,
        };
        (server, pipe)
    }

    /// Writes far more to the log than a pipe holds.
    fn fill(&self) {
        for _ in 0..2000 {
            let (status, _) = self.client.send("GET", "/healthz", None, "", b"").unwrap();
            assert_eq!(status, 200);
        }
    }

    fn terminate(&mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn server_with_unread_output_serves_and_stops() {
    let dir = folder();
    let (mut server, pipe) = Unread::start(dir.path(), &[], true);
    server.fill();
    for number in 0..40 {
        let email = format!("user{number}@example.com");
        assert_eq!(server.client.sign_up(&email).unwrap().0, 201);
        let inbox = format!("/dev/mail/?to={email}");
        let (status, mails) = server.client.send("GET", &inbox, None, "", b"").unwrap();
        assert_eq!(status, 200);
        assert!(matches!(mails, Value::Array(mails) if mails.len() == 1));
    }
    assert_eq!(server.terminate(), Some(0));
    drop(pipe);
}

#[test]
fn dropped_log_lines_are_counted() {
    let dir = folder();
    let (mut server, mut stderr) = Unread::start(dir.path(), &["--mail-transport", "file"], false);
    server.fill();
    // The test reads again: the pipe is full.
    let mut waiting = vec![0; 8192];
    stderr.read_exact(&mut waiting).unwrap();
    let reader = thread::spawn(move || {
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).map(|_| rest).unwrap()
    });
    server.client.send("GET", "/readyz", None, "", b"").unwrap();
    assert_eq!(server.terminate(), Some(0));
    let rest = reader.join().unwrap();
    let (before, _) = rest
        .split_once(" lines before this one were lost: ")
        .unwrap_or_else(|| panic!("{rest}"));
    let count: u32 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count > 0, "{rest}");
    assert!(rest.contains("GET /readyz -> 200"), "{rest}");
    assert!(rest.contains(" stopped\n"), "{rest}");
}
