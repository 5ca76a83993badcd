//! A connection to a mail server: commands, replies, STARTTLS and sign-in (RFC 5321, 3207, 4954).
//!
//! It sends one command at a time, so anything received before a command or before TLS starts was not asked
//! for. An attacker on the path could have sent it, and it would count as the encrypted server's reply:
//! such a connection is dropped.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, StreamOwned};

use super::reply::{Reply, ReplyLine};

/// Longest line of a reply, in bytes. RFC 5321 allows 512.
const MAX_LINE: usize = 8 * 1024;

/// Longest reply, in bytes.
const MAX_REPLY: usize = 64 * 1024;

/// Most pieces of a reply, each of which may take as long as a step.
const MAX_PIECES: usize = 256;

/// The sign-in mechanisms that are supported, the best one first.
const MECHANISMS: [&str; 2] = ["PLAIN", "LOGIN"];

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum SmtpError {
    /// The server refused it.
    #[error("{0}")]
    Refused(Reply),
    /// The server's reply is of a class that the command does not have.
    #[error("unexpected reply: {0}")]
    Unexpected(Reply),
    /// The server does not speak SMTP.
    #[error("{0}")]
    Protocol(&'static str),
    /// The server sent something that was not asked for.
    #[error("it sent data before {0}, as an attacker on the path would")]
    Unsolicited(&'static str),
    /// The server does not answer in time.
    #[error("it does not answer within {0:?}")]
    Timeout(Duration),
    /// The server closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// The server has no STARTTLS.
    #[error("it does not offer STARTTLS")]
    NoStartTls,
    /// The server has no sign-in mechanism that is supported.
    #[error("{}", no_mechanism(.offered))]
    NoMechanism {
        /// The names of those that it has.
        offered: Vec<String>,
    },
    /// The network or TLS failed.
    #[error(transparent)]
    Io(io::Error),
}

fn no_mechanism(offered: &[String]) -> String {
    let ours = MECHANISMS.join(" and ");
    match offered {
        [] => "it offers no sign-in (AUTH)".to_owned(),
        offered => format!(
            "it offers the sign-in mechanisms {}, of which none is supported ({ours})",
            offered.join(", ")
        ),
    }
}

impl SmtpError {
    /// The reply that refused the command.
    pub(super) const fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused(reply) => Some(reply),
            _ => None,
        }
    }

    /// The failure of TLS, if it is one.
    pub(super) fn tls_error(&self) -> Option<&rustls::Error> {
        match self {
            Self::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(bytes),
            Self::Tls(tls) => tls.read(bytes),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

/// A connection to a mail server.
pub(super) struct Connection {
    stream: Stream,
    /// What was received and not yet read.
    received: Vec<u8>,
    timeout: Duration,
    /// The server's name for itself.
    server_name: String,
    /// The keywords of EHLO and their parameters, in upper case.
    extensions: Vec<Vec<String>>,
}

/// Where TLS starts, and for whom.
pub(super) struct Tls<'a> {
    pub(super) config: &'a Arc<ClientConfig>,
    pub(super) name: &'a ServerName<'static>,
}

impl Connection {
    /// Connects, with `tls` encrypted from the first byte, and reads the greeting.
    pub(super) fn open(
        address: (&str, u16),
        timeout: Duration,
        tls: Option<&Tls<'_>>,
    ) -> Result<Self, SmtpError> {
        let tcp = connect(address, timeout).map_err(SmtpError::Io)?;
        let mut connection = Self {
            stream: Stream::Plain(tcp),
            received: Vec::new(),
            timeout,
            server_name: String::new(),
            extensions: Vec::new(),
        };
        connection.set_timeout(timeout).map_err(SmtpError::Io)?;
        if let Some(tls) = tls {
            connection.encrypt(tls)?;
        }
        connection.expect(2)?;
        Ok(connection)
    }

    /// The server's name for itself.
    pub(super) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// This machine's address on the connection.
    pub(super) fn local_ip(&self) -> Option<IpAddr> {
        self.stream.tcp().local_addr().ok().map(|addr| addr.ip())
    }

    /// Changes how long each step may take.
    pub(super) fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.timeout = timeout;
        self.stream.tcp().set_read_timeout(Some(timeout))?;
        self.stream.tcp().set_write_timeout(Some(timeout))
    }

    /// Introduces this client, with HELO where the server does not know EHLO.
    pub(super) fn hello(&mut self, name: &str) -> Result<(), SmtpError> {
        self.extensions.clear();
        let reply = match self.command(&format!("EHLO {name}"), 2) {
            Err(SmtpError::Refused(reply)) if reply.class() == 5 => {
                self.command(&format!("HELO {name}"), 2)?
            }
            outcome => {
                let reply = outcome?;
                self.extensions = reply
                    .lines()
                    .iter()
                    .skip(1)
                    .map(|line| keywords(line))
                    .collect();
                reply
            }
        };
        let greeting = reply.lines().first().map_or("", String::as_str);
        let name = greeting.split_ascii_whitespace().next();
        name.unwrap_or("nothing").clone_into(&mut self.server_name);
        Ok(())
    }

    pub(super) fn offers_starttls(&self) -> bool {
        self.extensions
            .iter()
            .any(|words| words.first().is_some_and(|word| word == "STARTTLS"))
    }

    /// Encrypts the connection with STARTTLS. Nothing that was received before counts after.
    pub(super) fn starttls(&mut self, tls: &Tls<'_>) -> Result<(), SmtpError> {
        if !self.offers_starttls() {
            return Err(SmtpError::NoStartTls);
        }
        self.command("STARTTLS", 2)?;
        if !self.received.is_empty() {
            return Err(SmtpError::Unsolicited("TLS"));
        }
        self.extensions.clear();
        self.encrypt(tls)
    }

    fn encrypt(&mut self, tls: &Tls<'_>) -> Result<(), SmtpError> {
        let mut tcp = self.stream.tcp().try_clone().map_err(SmtpError::Io)?;
        let mut session = ClientConnection::new(Arc::clone(tls.config), tls.name.clone())
            .map_err(|e| SmtpError::Io(io::Error::other(e)))?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp).map_err(|e| self.io(e))?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(session, tcp)));
        Ok(())
    }

    /// Signs in with the best mechanism that the server offers.
    pub(super) fn sign_in(&mut self, user: &str, password: &str) -> Result<Reply, SmtpError> {
        let mut offered: Vec<String> = Vec::new();
        for words in &self.extensions {
            // Old servers write `AUTH=LOGIN`.
            if let [first, rest @ ..] = &**words
                && (first == "AUTH" || first.starts_with("AUTH="))
            {
                let old_form = first.strip_prefix("AUTH=").filter(|name| !name.is_empty());
                offered.extend(old_form.map(str::to_owned));
                offered.extend(rest.iter().cloned());
            }
        }
        let mechanism = MECHANISMS
            .into_iter()
            .find(|ours| offered.iter().any(|name| name == ours));
        match mechanism {
            // RFC 4616.
            Some("PLAIN") => {
                let response = BASE64.encode(format!("\0{user}\0{password}"));
                let reply = self.challenge(&format!("AUTH PLAIN {response}"))?;
                match reply.class() {
                    // It ignored the initial response.
                    3 => self.command(&response, 2),
                    _ => Ok(reply),
                }
            }
            Some(_) => {
                self.command("AUTH LOGIN", 3)?;
                self.command(&BASE64.encode(user), 3)?;
                self.command(&BASE64.encode(password), 2)
            }
            None => {
                offered.dedup();
                Err(SmtpError::NoMechanism { offered })
            }
        }
    }

    /// Sends a command whose reply is either final or a challenge.
    fn challenge(&mut self, line: &str) -> Result<Reply, SmtpError> {
        match self.command(line, 2) {
            Err(SmtpError::Unexpected(reply)) if reply.code() == 334 => Ok(reply),
            outcome => outcome,
        }
    }

    /// Sends a command and reads its reply, whose code has to begin with `class`.
    pub(super) fn command(&mut self, line: &str, class: u16) -> Result<Reply, SmtpError> {
        self.send(format!("{line}\r\n").as_bytes(), class)
    }

    /// Sends bytes and reads the reply.
    pub(super) fn send(&mut self, bytes: &[u8], class: u16) -> Result<Reply, SmtpError> {
        if !self.received.is_empty() {
            return Err(SmtpError::Unsolicited("a command"));
        }
        self.stream.write_all(bytes).map_err(|e| self.io(e))?;
        self.expect(class)
    }

    /// Says goodbye and closes the connection.
    pub(super) fn quit(mut self) {
        // It is closed either way.
        let _ = self.command("QUIT", 2);
        let _ = self.stream.tcp().shutdown(Shutdown::Both);
    }

    fn expect(&mut self, class: u16) -> Result<Reply, SmtpError> {
        let reply = self.read_reply()?;
        match reply.class() {
            actual if actual == class => Ok(reply),
            4 | 5 => Err(SmtpError::Refused(reply)),
            _ => Err(SmtpError::Unexpected(reply)),
        }
    }

    fn read_reply(&mut self) -> Result<Reply, SmtpError> {
        let (mut lines, mut length, mut pieces) = (Vec::new(), 0, 0);
        loop {
            let line = self.read_line(&mut pieces)?;
            length += line.len();
            if length > MAX_REPLY {
                return Err(SmtpError::Protocol("its reply is too long"));
            }
            let line = ReplyLine::parse(&line).ok_or(SmtpError::Protocol(
                "its reply is not one of an SMTP server",
            ))?;
            lines.push(line.text);
            if line.is_last {
                return Ok(Reply::new(line.code, lines));
            }
        }
    }

    /// Reads a line without its end.
    fn read_line(&mut self, pieces: &mut usize) -> Result<Vec<u8>, SmtpError> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.truncate(end);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.received.len() > MAX_LINE {
                return Err(SmtpError::Protocol("a line of its reply is too long"));
            }
            *pieces += 1;
            if *pieces > MAX_PIECES {
                return Err(SmtpError::Protocol("its reply arrives in too many pieces"));
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(SmtpError::Closed),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io(e)),
            }
        }
    }

    fn io(&self, error: io::Error) -> SmtpError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => SmtpError::Timeout(self.timeout),
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => SmtpError::Closed,
            _ => SmtpError::Io(error),
        }
    }
}

/// Tries all addresses of a host; the last failure counts.
fn connect(address: (&str, u16), timeout: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(tcp) => {
                // A mail is a few small writes, each of which waits for its reply.
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

/// The words of a line of EHLO's reply, in upper case.
fn keywords(line: &str) -> Vec<String> {
    line.split_ascii_whitespace()
        .map(str::to_ascii_uppercase)
        .collect()
}
