//! `healthcheck`: whether the server that these settings are for answers, at the address of the API and at that of figures, for
//! containers and monitors that can run a program but have no HTTP client.

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

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Most bytes of the first line of an answer.
const LONGEST_LINE: u64 = 1024;

pub(super) fn run(config: &Config) -> CommandResult {
    let main = Listener {
        addresses: config.server.listen.socket_addrs(),
        is_encrypted: config.tls.is_on(),
    };
    // An address for figures is never encrypted.
    let figures = config.metrics.listen.as_ref().map(|listen| Listener {
        addresses: listen.socket_addrs(),
        is_encrypted: false,
    });
    // With port 0 nobody knows where the server listens: a socket that systemd hands over is only found by its address.
    let known: Vec<Listener> = [Some(main), figures]
        .into_iter()
        .flatten()
        .filter(|listener| listener.addresses.iter().all(|address| address.port() != 0))
        .collect();
    if known.is_empty() {
        return Err(
            "[server] listen has port 0, so nobody knows where the server listens; name its address with --listen"
                .into(),
        );
    }
    known.iter().try_for_each(Listener::check)
}

/// A way in that the server has to answer on.
struct Listener {
    /// What its name stands for: one of them is in use.
    addresses: Vec<SocketAddr>,
    is_encrypted: bool,
}

impl Listener {
    fn check(&self) -> CommandResult {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let mut last = String::new();
        for &address in &self.addresses {
            let address = reachable(address);
            match ask(address, self.is_encrypted) {
                Ok(status) if status == "200" => return Ok(()),
                Ok(status) => last = format!("{scheme}://{address}/readyz answers {status}"),
                Err(e) => last = format!("{scheme}://{address}/readyz does not answer: {e}"),
            }
        }
        Err(last)
    }
}

/// Where a server that listens everywhere is found from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status of the answer.
fn ask(address: SocketAddr, is_encrypted: bool) -> std::io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if !is_encrypted {
        return status(stream, address);
    }
    let connection = ClientConnection::new(tls_config()?, ServerName::from(address.ip()))
        .map_err(std::io::Error::other)?;
    status(StreamOwned::new(connection, stream), address)
}

fn status(mut stream: impl Read + Write, address: SocketAddr) -> std::io::Result<String> {
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut line)?;
    // "HTTP/1.1 200 OK", RFC 9112, section 4.
    line.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .map(str::to_owned)
        .ok_or_else(|| std::io::Error::other("this is no HTTP"))
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

/// Takes every certificate: it is made out for the name that clients use and not for this machine's own address, nothing
/// secret is said, and whether it is still good is a question for `check`.
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
