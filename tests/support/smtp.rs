//! A mail server for tests: speaks SMTP on a free port of this machine, keeps what it is given and fails as it is told.

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

/// How long a test waits for a mail before it gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often the server looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(10);

/// A mail that was taken.
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

/// How the server encrypts, with a certificate of an authority made for the occasion.
#[derive(Clone)]
pub enum Encryption {
    None,
    /// It offers STARTTLS.
    StartTls(Arc<ServerConfig>),
    /// TLS from the first byte.
    Wrapped(Arc<ServerConfig>),
}

/// The settings of a server with a certificate for `name`, and the certificate of the authority that signed it as PEM.
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
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (Arc::new(config), pem)
}

/// What the server does instead of taking a mail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers the command of this name (`RCPT`, `DATA`, `.` for the end of a message) with these words.
    Say(&'static str, &'static str),
    /// Hangs up in the middle of the message.
    HangUp,
    /// Takes the mail and hangs up without saying so.
    HangUpAfter,
    /// Answers nothing at all until it is stopped.
    Stall,
}

struct Rule {
    to: String,
    fault: Fault,
    /// How often it is still applied.
    times: usize,
}

#[derive(Default)]
struct State {
    mails: Vec<Received>,
    rules: Vec<Rule>,
    /// Every line that a client has sent, message text aside.
    commands: Vec<String>,
    connections: usize,
}

/// The server. It stops, and hangs up on everybody, when this is dropped.
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

    /// Starts on a port that a former one had.
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

    /// The setting that leads here.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Does this to the next `times` mails to an address.
    pub fn fail(&self, to: &str, times: usize, fault: Fault) {
        self.state().rules.push(Rule {
            to: to.to_owned(),
            fault,
            times,
        });
    }

    /// The mails taken so far, the oldest first.
    pub fn mails(&self) -> Vec<Received> {
        self.state().mails.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.state().commands.clone()
    }

    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Waits until as many mails were taken.
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

    /// Waits until so many commands with this beginning were sent.
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
        // As long as commands come, it is only the machine that is slow.
        let mut heard = usize::MAX;
        while !is_there(&state.mails, &state.commands) && state.commands.len() != heard {
            heard = state.commands.len();
            state = changed
                .wait_timeout_while(state, PATIENCE, |state| {
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
            thread::sleep(LOOK);
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        shared.0.lock().unwrap().connections += 1;
        clients.push(stream.try_clone().unwrap());
        let (shared, stopping) = (Arc::clone(shared), Arc::clone(stopping));
        let encryption = encryption.clone();
        // The client may hang up whenever it likes.
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

/// Both directions of a conversation, line by line.
struct Wire(BufReader<Box<dyn Stream>>);

impl Wire {
    fn say(&mut self, words: &str) -> std::io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(format!("{words}\r\n").as_bytes())?;
        stream.flush()
    }

    /// The next line without its end; `None` when the client has hung up.
    fn hear(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line)?;
        Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A message up to its end, without which it is none.
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
                    thread::sleep(LOOK);
                }
                return Ok(());
            }
            _ => {}
        }
        match command.as_str() {
            "EHLO" => {
                let starttls = match encryption {
                    Encryption::StartTls(_) if !is_encrypted => "250-STARTTLS\r\n",
                    _ => "",
                };
                wire.say(&format!(
                    "250-sink.example\r\n{starttls}250-AUTH PLAIN LOGIN\r\n250 8BITMIME"
                ))?;
            }
            "STARTTLS" => {
                let Encryption::StartTls(config) = encryption else {
                    wire.say("502 5.5.1 not here")?;
                    continue;
                };
                wire.say("220 go on")?;
                wire = Wire(BufReader::new(encrypted(again.try_clone()?, config)));
                is_encrypted = true;
            }
            "AUTH" => wire.say("235 2.7.0 welcome")?,
            "MAIL" => {
                from = address_in(&line);
                wire.say("250 2.1.0 fine")?;
            }
            "DATA" => {
                wire.say("354 go on")?;
                let hangs_up = matches!(fault, Some(Fault::HangUp));
                let Some(message) = wire.hear_message(hangs_up)? else {
                    return Ok(());
                };
                if let Some(Fault::Say(".", words)) = &fault {
                    wire.say(words)?;
                    continue;
                }
                let mail = Received {
                    from: from.clone(),
                    to: to.clone(),
                    message,
                    was_encrypted: is_encrypted,
                };
                state.lock().unwrap().mails.push(mail);
                changed.notify_all();
                if matches!(fault, Some(Fault::HangUpAfter)) {
                    return Ok(());
                }
                wire.say("250 2.0.0 taken")?;
            }
            "QUIT" => {
                wire.say("221 bye")?;
                return Ok(());
            }
            _ => wire.say("250 fine")?,
        }
    }
    Ok(())
}
