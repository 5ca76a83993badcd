//! A mail server for tests: speaks SMTP on a free loopback port, keeps mails, and fails on demand.

#![allow(
    dead_code,
    reason = "each of the test programs that share this needs a part of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest wait of a test for a mail.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often the server checks whether it stops.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// An accepted mail.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// The whole message with LF line ends.
    pub message: String,
    pub was_encrypted: bool,
}

impl Received {
    /// A header of the message on one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message
            .lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The first group of six digits.
    pub fn code(&self) -> String {
        let digits: Vec<char> = self.message.chars().collect();
        digits
            .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
            .find(|group| group.len() == 6 && group[0].is_ascii_digit())
            .unwrap_or_else(|| panic!("no code in {}", self.message))
            .iter()
            .collect()
    }
}

/// How the server encrypts.
#[derive(Clone)]
pub enum Encryption {
    None,
    /// It offers STARTTLS.
    StartTls(Arc<ServerConfig>),
    /// TLS from the first byte.
    Wrapped(Arc<ServerConfig>),
}

/// A server certificate for `name`, and that of the authority that signed it as PEM.
pub fn certificate_for(name: &str) -> (Arc<ServerConfig>, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    (server_config(certificate.der(), &key), pem)
}

/// A self-signed server certificate with CA:TRUE, as `openssl req -x509` makes it, and the same as PEM.
///
/// `san` is its alternative name; without one, only the subject has a name.
pub fn self_signed(common_name: &str, san: Option<&str>) -> (Arc<ServerConfig>, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(san.map(str::to_owned).into_iter().collect::<Vec<_>>())
            .unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    let certificate = params.self_signed(&key).unwrap();
    (server_config(certificate.der(), &key), certificate.pem())
}

fn server_config(certificate: &CertificateDer<'_>, key: &rcgen::KeyPair) -> Arc<ServerConfig> {
    let chain = vec![certificate.clone().into_owned()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// What the server does instead of accepting a mail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Replies to the command of this name (`RCPT`, `DATA`, `.` for the end of a message) with this text.
    Say(&'static str, &'static str),
    /// Closes the connection in the middle of the message.
    HangUp,
    /// Accepts the mail and closes the connection without a reply.
    HangUpAfter,
    /// Does not reply until the server stops.
    Stall,
}

struct Rule {
    to: String,
    fault: Fault,
    /// How often it still applies.
    times: usize,
}

#[derive(Default)]
struct State {
    mails: Vec<Received>,
    rules: Vec<Rule>,
    /// Replies that replace the usual ones, byte for byte.
    replies: Vec<(&'static str, &'static [u8])>,
    /// Every line from clients except messages.
    commands: Vec<String>,
    connections: usize,
}

/// The server. It stops and closes all connections on drop.
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
    stopping: Arc<AtomicBool>,
    listener: Option<thread::JoinHandle<()>>,
}

impl SmtpSink {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap())
    }

    /// Starts on this port, such as that of an earlier server.
    pub fn start_on(address: SocketAddr) -> Self {
        Self::start_with(address, Encryption::None)
    }

    pub fn start_encrypted(encryption: Encryption) -> Self {
        Self::start_with("127.0.0.1:0".parse().unwrap(), encryption)
    }

    fn start_with(address: SocketAddr, encryption: Encryption) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = {
            let (shared, stopping) = (Arc::clone(&shared), Arc::clone(&stopping));
            thread::spawn(move || accept(&listener, &encryption, &shared, &stopping))
        };
        Self {
            address,
            shared,
            stopping,
            listener: Some(thread),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL for the settings.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Applies a fault to the next `times` mails to an address.
    pub fn fail(&self, to: &str, times: usize, fault: Fault) {
        self.state().rules.push(Rule {
            to: to.to_owned(),
            fault,
            times,
        });
    }

    /// Replies to every command of this name (`.` for the end of a message) with these bytes, until it is
    /// [reset](Self::reply_as_usual).
    pub fn reply(&self, command: &'static str, bytes: &'static [u8]) {
        self.state().replies.push((command, bytes));
    }

    pub fn reply_as_usual(&self) {
        self.state().replies.clear();
    }

    /// The accepted mails, the oldest first.
    pub fn mails(&self) -> Vec<Received> {
        self.state().mails.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.state().commands.clone()
    }

    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Waits until this many mails were accepted.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} mails"), |mails, _| mails.len() >= count);
        self.mails()
    }

    /// Waits for the first mail to an address.
    #[track_caller]
    pub fn wait_for_mail_to(&self, to: &str) -> Received {
        self.wait_until(&format!("a mail to {to}"), |mails, _| {
            mails.iter().any(|mail| mail.to == to)
        });
        self.mails_to(to).remove(0)
    }

    pub fn mails_to(&self, to: &str) -> Vec<Received> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.to == to);
        mails
    }

    /// Waits until this many commands with this prefix were sent.
    #[track_caller]
    pub fn wait_for_command(&self, start: &str, count: usize) {
        self.wait_until(&format!("{count} times {start}"), |_, commands| {
            commands
                .iter()
                .filter(|line| line.starts_with(start))
                .count()
                >= count
        });
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_there: impl Fn(&[Received], &[String]) -> bool) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        // As long as commands arrive, the machine is only slow.
        let mut seen = usize::MAX;
        while !is_there(&state.mails, &state.commands) && state.commands.len() != seen {
            seen = state.commands.len();
            state = changed
                .wait_timeout_while(state, TIMEOUT, |state| {
                    !is_there(&state.mails, &state.commands)
                })
                .unwrap()
                .0;
        }
        assert!(
            is_there(&state.mails, &state.commands),
            "{what} did not come; there are {} mails and {:?}",
            state.mails.len(),
            state.commands
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    encryption: &Encryption,
    shared: &Arc<(Mutex<State>, Condvar)>,
    stopping: &Arc<AtomicBool>,
) {
    let mut clients = Vec::new();
    while !stopping.load(Ordering::SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(POLL_INTERVAL);
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        shared.0.lock().unwrap().connections += 1;
        clients.push(stream.try_clone().unwrap());
        let (shared, stopping) = (Arc::clone(shared), Arc::clone(stopping));
        let encryption = encryption.clone();
        // The client may close the connection at any time.
        thread::spawn(move || drop(converse(stream, &encryption, &shared, &stopping)));
    }
    for client in clients {
        let _ = client.shutdown(Shutdown::Both);
    }
}

/// The address in `MAIL FROM:<a@b>`.
fn address_in(line: &str) -> String {
    let start = line.find('<').map_or(0, |start| start + 1);
    let rest = &line[start..];
    rest.rsplit_once('>')
        .map_or(rest, |(address, _)| address)
        .to_owned()
}

/// A connection, encrypted or not.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

fn encrypted(stream: TcpStream, config: &Arc<ServerConfig>) -> Box<dyn Stream> {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    Box::new(StreamOwned::new(connection, stream))
}

/// Both directions of a session, line by line.
struct Wire(BufReader<Box<dyn Stream>>);

impl Wire {
    fn say(&mut self, words: &str) -> std::io::Result<()> {
        self.say_raw(format!("{words}\r\n").as_bytes())
    }

    fn say_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The next line without its end; `None` when the client closed the connection.
    fn hear(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line)?;
        Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A message; `None` when it does not end.
    fn hear_message(&mut self, hangs_up: bool) -> std::io::Result<Option<String>> {
        let mut message = String::new();
        while let Some(line) = self.hear()? {
            if line == "." {
                return Ok(Some(message));
            }
            if hangs_up {
                break;
            }
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
            message.push('\n');
        }
        Ok(None)
    }
}

fn converse(
    stream: TcpStream,
    encryption: &Encryption,
    shared: &Arc<(Mutex<State>, Condvar)>,
    stopping: &AtomicBool,
) -> std::io::Result<()> {
    let (state, changed) = &**shared;
    let again = stream.try_clone()?;
    let mut is_encrypted = matches!(encryption, Encryption::Wrapped(_));
    let mut wire = Wire(BufReader::new(match encryption {
        Encryption::Wrapped(config) => encrypted(stream, config),
        _ => Box::new(stream),
    }));
    let (mut from, mut to) = (String::new(), String::new());
    let mut fault = None;
    wire.say("220 sink.example ESMTP")?;
    while let Some(line) = wire.hear()? {
        state.lock().unwrap().commands.push(line.clone());
        changed.notify_all();
        let command = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        if command == "RCPT" {
            to = address_in(&line);
            let mut state = state.lock().unwrap();
            let rule = state
                .rules
                .iter_mut()
                .find(|rule| rule.to == to && rule.times > 0);
            fault = rule.map(|rule| {
                rule.times -= 1;
                rule.fault.clone()
            });
        }
        match (&fault, command.as_str()) {
            (Some(Fault::Say(at, words)), command) if *at == command => {
                wire.say(words)?;
                continue;
            }
            (Some(Fault::Stall), _) => {
                while !stopping.load(Ordering::SeqCst) {
                    thread::sleep(POLL_INTERVAL);
                }
                return Ok(());
            }
            _ => {}
        }
        let usual = match command.as_str() {
            "EHLO" => {
                let starttls = match encryption {
                    Encryption::StartTls(_) if !is_encrypted => "250-STARTTLS\r\n",
                    _ => "",
                };
                format!("250-sink.example\r\n{starttls}250-AUTH PLAIN LOGIN\r\n250 8BITMIME")
            }
            "STARTTLS" if !matches!(encryption, Encryption::StartTls(_)) => {
                "502 5.5.1 not here".to_owned()
            }
            "STARTTLS" => "220 go on".to_owned(),
            "AUTH" => "235 2.7.0 welcome".to_owned(),
            "MAIL" => "250 2.1.0 fine".to_owned(),
            "DATA" => "354 go on".to_owned(),
            "QUIT" => "221 bye".to_owned(),
            _ => "250 fine".to_owned(),
        };
        let reply = reply_to(state, &command, &usual);
        wire.say_raw(&reply)?;
        match command.as_str() {
            "STARTTLS" if reply.starts_with(b"220") => {
                let Encryption::StartTls(config) = encryption else {
                    continue;
                };
                wire = Wire(BufReader::new(encrypted(again.try_clone()?, config)));
                is_encrypted = true;
            }
            "MAIL" => from = address_in(&line),
            "DATA" if reply.starts_with(b"354") => {
                let hangs_up = matches!(fault, Some(Fault::HangUp));
                let Some(message) = wire.hear_message(hangs_up)? else {
                    return Ok(());
                };
                if let Some(Fault::Say(".", words)) = &fault {
                    wire.say(words)?;
                    continue;
                }
                let reply = reply_to(state, ".", "250 2.0.0 taken");
                if reply.starts_with(b"2") {
                    let mail = Received {
                        from: from.clone(),
                        to: to.clone(),
                        message,
                        was_encrypted: is_encrypted,
                    };
                    state.lock().unwrap().mails.push(mail);
                    changed.notify_all();
                }
                if matches!(fault, Some(Fault::HangUpAfter)) {
                    return Ok(());
                }
                wire.say_raw(&reply)?;
            }
            "QUIT" => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// The replacement of a reply, or the usual one.
fn reply_to(state: &Mutex<State>, command: &str, usual: &str) -> Vec<u8> {
    let state = state.lock().unwrap();
    let replacement = state.replies.iter().find(|(name, _)| *name == command);
    replacement.map_or_else(
        || format!("{usual}\r\n").into_bytes(),
        |(_, bytes)| bytes.to_vec(),
    )
}
