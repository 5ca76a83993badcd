//! `healthcheck`: whether the server that these settings are for answers, for containers and monitors that can run a program
//! but have no HTTP client.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::CommandResult;
use crate::config::Config;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Most bytes of an answer that are looked at.
const LONGEST_ANSWER: u64 = 64 * 1024;

pub(super) fn run(config: &Config) -> CommandResult {
    let addresses = config.server.listen.socket_addrs();
    if addresses.iter().any(|address| address.port() == 0) {
        return Err("[server] listen has port 0, so nobody knows where the server listens".into());
    }
    let mut last = String::new();
    for address in addresses {
        let address = reachable(address);
        match ask(address) {
            Ok(status) if status == "200" => return Ok(()),
            Ok(status) => last = format!("http://{address}/readyz answers {status}"),
            Err(e) => last = format!("http://{address}/readyz does not answer: {e}"),
        }
    }
    Err(last)
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
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    // "HTTP/1.1 200 OK", RFC 9112, section 4.
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(line)
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .map(str::to_owned)
        .ok_or_else(|| std::io::Error::other("this is no HTTP"))
}
