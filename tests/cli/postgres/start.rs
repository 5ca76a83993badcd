//! A start while the database cannot be reached.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::proxy::{Proxy, free_port};
use super::target;
use crate::support::{folder, program};
use crate::test_schema::TestSchema;

/// How long a test waits for a line.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A server that does not listen yet, killed on drop.
pub(super) struct Waiting {
    child: Child,
    lines: Receiver<String>,
}

impl Waiting {
    /// Starts a prepared server, and reads what it writes.
    pub(super) fn spawn(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let errors = sender.clone();
        thread::spawn(move || forward(stdout, &sender));
        thread::spawn(move || forward(stderr, &errors));
        Self { child, lines }
    }

    /// Waits for a line that contains `text` and returns it.
    #[track_caller]
    pub(super) fn wait_for_log(&self, text: &str) -> String {
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {text:?} in {seen:?}");
    }

    /// Waits until the server is there.
    #[track_caller]
    pub(super) fn wait_until_it_listens(&self) {
        self.wait_for_log("accounts-server listening on http://");
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(output: impl std::io::Read, lines: &std::sync::mpsc::Sender<String>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        if lines.send(line).is_err() {
            return;
        }
    }
}

#[test]
fn database_that_comes_later_is_found() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let port = free_port();
    let (target, url) = target(&schema, port);
    let mut command = program(dir.path(), &["--db", &url]);
    command.args(["--listen", "127.0.0.1:0"]);
    let waiting = Waiting::spawn(command);
    let line = waiting.wait_for_log("trying for 30 s");
    assert!(
        line.contains(&format!("127.0.0.1:{port}: Connection refused")),
        "{line}"
    );
    let _proxy = Proxy::start(port, target);
    waiting.wait_until_it_listens();
}

#[test]
fn signal_ends_the_wait_for_the_database() {
    let dir = folder();
    let url = format!("postgres://u@127.0.0.1:{}/accounts", free_port());
    let mut command = program(dir.path(), &["--db", &url]);
    command.args(["--listen", "127.0.0.1:0"]);
    let mut waiting = Waiting::spawn(command);
    waiting.wait_for_log("trying for 30 s");
    let pid = waiting.child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert!(!waiting.child.wait().unwrap().success());
}
