//! `healthcheck`: asks the running server for its readiness, at the address of the API and that of
//! metrics.
//!
//! For containers and monitors that can run a program but have no HTTP client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

use super::CommandResult;
use crate::config::Config;

/// Timeout of each step.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Most bytes of the status line.
const MAX_STATUS_LINE: u64 = 1024;

pub(super) fn run(config: &Config) -> CommandResult {
    let main = Listener {
        addresses: config.server.listen.socket_addrs(),
        is_encrypted: config.tls.is_on(),
    };
    // The listener for metrics never uses TLS.
    let metrics = config.metrics.listen.as_ref().map(|listen| Listener {
        addresses: listen.socket_addrs(),
        is_encrypted: false,
    });
    // Port 0 says nothing: the socket may be one that systemd passes to the server.
    let known: Vec<Listener> = [Some(main), metrics]
        .into_iter()
        .flatten()
        .filter(|listener| listener.addresses.iter().all(|address| address.port() != 0))
        .collect();
    if known.is_empty() {
        return Err(
            "[server] listen has port 0, so the address of the server is unknown; name it with \
             --listen"
                .into(),
        );
    }
    known.iter().try_for_each(Listener::check)
}

/// An address on which the server must answer.
struct Listener {
    /// The addresses that its name resolves to; the server listens on one of them.
    addresses: Vec<SocketAddr>,
    is_encrypted: bool,
}

impl Listener {
    fn check(&self) -> CommandResult {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let mut last = String::new();
        for &address in &self.addresses {
            let address = reachable(address);
            match request_status(address, self.is_encrypted) {
                Ok(status) if status == "200" => return Ok(()),
                Ok(status) => last = format!("{scheme}://{address}/readyz answers {status}"),
                Err(e) => last = format!("{scheme}://{address}/readyz does not answer: {e}"),
            }
        }
        Err(last)
    }
}

/// The loopback address for a server that listens on all interfaces.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Requests `/readyz` and returns the status code.
fn request_status(address: SocketAddr, is_encrypted: bool) -> std::io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    if !is_encrypted {
        return read_status(stream, address);
    }
    let connection = ClientConnection::new(tls_config()?, ServerName::from(address.ip()))
        .map_err(std::io::Error::other)?;
    read_status(StreamOwned::new(connection, stream), address)
}

fn read_status(mut stream: impl Read + Write, address: SocketAddr) -> std::io::Result<String> {
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_STATUS_LINE)).read_line(&mut line)?;
    // "HTTP/1.1 200 OK", RFC 9112, section 4.
    line.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .map(str::to_owned)
        .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn tls_config() -> std::io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts every certificate.
///
/// It is issued for the public name and not for this machine's own address, nothing secret is sent,
/// and `check` reports whether it is valid.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
