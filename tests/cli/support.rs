//! Runs the program: a command until it exits, or a server until the test stops it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use accounts_server::clock::{Clock, SystemClock};

use crate::authenticator;

/// Password of all test accounts.
pub const PASSWORD: &str = "securepassword123";

/// How long a test waits for output or an answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// An empty temporary folder, removed on drop.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The program, prepared to start in `dir` without settings in the environment.
pub fn program(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_accounts-server"));
    command
        .current_dir(dir)
        .args(arguments)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ACCOUNTS_") || name.starts_with("RUST_LOG") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit code and output of a command.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Asserts the exit code, an empty standard output, and texts on standard error.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is missing: {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    /// Asserts success and the whole standard output.
    #[track_caller]
    pub fn assert_done(&self, stdout: &str) {
        assert_eq!((self.code, &*self.stdout), (Some(0), stdout), "{self:?}");
    }
}

/// Runs a command until it exits.
pub fn run(dir: &Path, arguments: &[&str]) -> Outcome {
    finish(program(dir, arguments), "")
}

/// Runs a command with a text on standard input.
pub fn run_with_input(dir: &Path, arguments: &[&str], input: &str) -> Outcome {
    finish(program(dir, arguments), input)
}

/// Runs a prepared command until it exits.
pub fn finish(mut command: Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may exit without reading its input; the test decides whether that is right.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Creates a verified account with the command line and returns its id.
#[track_caller]
pub fn create_user(dir: &Path, email: &str, more: &[&str]) -> i64 {
    let mut arguments = vec![
        "--db",
        "users.db",
        "--passwords-bcrypt-cost",
        "4",
        "user",
        "create",
        email,
    ];
    arguments.push("--password-stdin");
    arguments.extend(more);
    let outcome = run_with_input(dir, &arguments, &format!("{PASSWORD}\n"));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome.stdout.trim_end().parse().unwrap()
}

/// A running server, killed on drop.
pub struct Running {
    pub address: SocketAddr,
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts a server on `users.db` in `dir` and a free port, with cheap password hashes.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &["--db", "users.db", "--passwords-bcrypt-cost", "4"])
    }

    /// Starts a server with these arguments on a free port.
    pub fn start_with(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = program(dir, arguments);
        command.args(["--listen", "127.0.0.1:0"]);
        Self::spawn(command)
    }

    /// Starts a server with these arguments and environment variables on a free port.
    pub fn start_in_environment(
        dir: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = program(dir, arguments);
        command.args(["--listen", "127.0.0.1:0"]);
        for (name, value) in environment {
            command.env(OsStr::new(name), value);
        }
        Self::spawn(command)
    }

    /// Starts a prepared server and waits until it listens.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        let first = stdout.recv_timeout(TIMEOUT).unwrap_or_else(|e| {
            let _ = child.kill();
            panic!(
                "no line on standard output ({e}); standard error: {:?}",
                stderr.iter().collect::<Vec<_>>()
            )
        });
        let address = first
            .strip_prefix("accounts-server listening on http://")
            .unwrap_or_else(|| panic!("an unexpected first line: {first:?}"));
        Self {
            address: address.parse().unwrap(),
            child,
            stdout,
            stderr,
        }
    }

    /// Sends JSON to a path below `/api/v1/accounts/` and returns status and body.
    pub fn api(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        self.request(method, &format!("/api/v1/accounts/{path}"), token, body)
    }

    /// Sends JSON to any path and returns status and body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .build()
            .new_agent();
        let request = request.body(body.to_string()).unwrap();
        let mut response = agent
            .run(request)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let text = response.body_mut().read_to_string().unwrap();
        (
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.api("POST", path, None, body)
    }

    pub fn sign_up(&self, email: &str) -> (u16, Value) {
        self.post(
            "users/",
            &json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD}),
        )
    }

    /// Signs in and returns the access token.
    #[track_caller]
    pub fn sign_in(&self, email: &str) -> String {
        let (status, pair) = self.post("token/", &json!({"email": email, "password": PASSWORD}));
        assert_eq!(status, 200, "{pair}");
        pair["access"].as_str().unwrap().to_owned()
    }

    /// The next line on standard output.
    pub fn next_output(&self) -> String {
        let line = self.stdout.recv_timeout(TIMEOUT);
        line.expect("a line on standard output")
    }

    /// The next email on standard output.
    pub fn next_mail(&self) -> String {
        let mut mail = String::new();
        loop {
            let line = self
                .stdout
                .recv_timeout(TIMEOUT)
                .expect("a mail on standard output");
            mail.push_str(&line);
            mail.push('\n');
            // The closing delimiter of the outer multipart (RFC 2046, section 5.1.1).
            if line.len() > 4 && line.starts_with("--") && line.ends_with("--") {
                return mail;
            }
        }
    }

    /// Waits for a line on standard error that contains `text` and returns it.
    pub fn wait_for_log(&self, text: &str) -> String {
        loop {
            let line = self
                .stderr
                .recv_timeout(TIMEOUT)
                .unwrap_or_else(|e| panic!("no {text:?} in the log: {e}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Kills the server, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the server with SIGTERM; returns the exit code and the remaining output.
    pub fn terminate(self) -> Outcome {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the server to exit.
    pub fn wait(mut self) -> Outcome {
        let stdout = rest(&self.stdout);
        let stderr = rest(&self.stderr);
        let status: ExitStatus = self.child.wait().unwrap();
        Outcome {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A long-running command that prints lines, killed on drop.
pub struct Follower {
    child: Child,
    stdout: Receiver<String>,
}

impl Follower {
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = program(dir, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line on standard output.
    pub fn next_line(&self) -> String {
        self.stdout.recv_timeout(TIMEOUT).expect("a line")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a separate thread, so that the program never blocks on output.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The output up to its end.
fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(TIMEOUT) {
            Ok(line) => text = text + &line + "\n",
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(RecvTimeoutError::Timeout) => panic!(
                "the program does not exit; its output is \
                {text:?}"
            ),
        }
    }
}

/// The code in an email: the first word of six digits. Tokens in links have such digits, too, between
/// letters.
#[track_caller]
pub fn code_in(mail: &str) -> String {
    mail.split(|c: char| !c.is_alphanumeric())
        .find(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit()))
        .unwrap_or_else(|| panic!("no code in {mail}"))
        .to_owned()
}

/// The names of all files in a folder, sorted.
pub fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    use base64::Engine;
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(claims)
            .unwrap(),
    )
    .unwrap()
}

/// Gives an account an authenticator app. What is stored of its secret matters to codes only.
pub fn enroll_app(dir: &Path, user_id: i64) {
    rusqlite::Connection::open(dir.join("users.db"))
        .unwrap()
        .execute(
            "INSERT INTO totp_devices (user_id, device_id, secret, last_step, created_at) \
             VALUES (?1, 'device ' || ?1, x'00', 0, 0)",
            [user_id],
        )
        .unwrap();
}

/// The code that an authenticator app with this secret in base 32 shows now.
pub fn totp_code(secret: &str) -> String {
    let secret = data_encoding::BASE32_NOPAD
        .decode(secret.as_bytes())
        .unwrap();
    let seconds = SystemClock.now().unix_seconds().unsigned_abs();
    authenticator::code(&secret, seconds / authenticator::STEP)
}
