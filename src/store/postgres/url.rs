//! The address of a PostgreSQL database: `postgres://user@host1:5432,host2:5432/name?sslmode=…`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode};

use crate::observability::error_chain;

/// Longest wait for a connection to one server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a database is, and how it is reached.
#[derive(Clone)]
pub struct PostgresUrl {
    /// The settings of one server each.
    pub(super) servers: Vec<Server>,
    /// The certificates of `sslrootcert`.
    pub ca_file: Option<PathBuf>,
    /// The schema to create.
    pub(super) schema: Option<String>,
}

/// One server of a URL.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Config,
    /// Its name for messages, and for the check of its certificate.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) has_tls: bool,
}

impl PostgresUrl {
    /// Parses a URL. `password` is taken where the URL has none.
    ///
    /// # Errors
    /// The text says what is wrong with it.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = String::new();
        let mut sslmode = None;
        let mut ca_file = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => sslmode = Some(value.to_owned()),
                "sslrootcert" => {
                    let path = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                    ca_file = Some(PathBuf::from(path.into_owned()));
                }
                // The server that takes writes is always found.
                "target_session_attrs" => match value {
                    "read-write" | "primary" | "any" => {}
                    _ => {
                        return Err(format!(
                            "target_session_attrs={value} is not supported; leave it out: the server that takes writes is found"
                        ));
                    }
                },
                _ => {
                    let separator = if kept.is_empty() { '?' } else { '&' };
                    let _ = write!(kept, "{separator}{pair}");
                }
            }
        }
        let mut whole = Config::from_str(&format!("{base}{kept}")).map_err(|e| {
            format!(
                "the URL of the database cannot be read: {}",
                error_chain(&e)
            )
        })?;
        if whole.get_password().is_none()
            && let Some(password) = password
        {
            whole.password(password);
        }
        if whole.get_hosts().is_empty() {
            return Err("the URL of the database names no host".to_owned());
        }
        if whole.get_dbname().is_none() {
            return Err(
                "the URL of the database names no database, as in postgres://user@host/accounts"
                    .to_owned(),
            );
        }
        if whole.get_user().is_none() {
            return Err(
                "the URL of the database names no user, as in postgres://user@host/accounts"
                    .to_owned(),
            );
        }
        let hosts = whole.get_hosts().to_vec();
        let ports = whole.get_ports().to_vec();
        let servers = hosts
            .into_iter()
            .enumerate()
            .map(|(index, host)| {
                let port = match ports.len() {
                    0 => 5432,
                    1 => ports[0],
                    _ => ports.get(index).copied().unwrap_or(5432),
                };
                server(&whole, &host, port, sslmode.as_deref())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            servers,
            ca_file,
            schema: None,
        })
    }

    /// Leads into a schema of this name, which is created, unless the URL names another one.
    pub fn use_schema(&mut self, name: &str) {
        for server in &mut self.servers {
            let options = server.config.get_options().unwrap_or_default().to_owned();
            if options.contains("search_path") {
                return;
            }
            let options = format!("{options} -c search_path={name},public");
            server.config.options(options);
        }
        self.schema = Some(name.to_owned());
    }

    /// Whether a server is reached by TLS.
    pub fn has_tls(&self) -> bool {
        self.servers.iter().any(|server| server.has_tls)
    }
}

/// The settings of one server.
fn server(whole: &Config, host: &Host, port: u16, sslmode: Option<&str>) -> Result<Server, String> {
    let mut config = Config::new();
    if let Some(user) = whole.get_user() {
        config.user(user);
    }
    if let Some(password) = whole.get_password() {
        config.password(password);
    }
    if let Some(name) = whole.get_dbname() {
        config.dbname(name);
    }
    // Compiling a statement takes longer than running it here.
    let options = whole.get_options().unwrap_or_default();
    config.options(format!("{options} -c jit=off").trim_start());
    config.application_name(whole.get_application_name().unwrap_or("accounts-server"));
    config.connect_timeout(CONNECT_TIMEOUT);
    config.channel_binding(ChannelBinding::Disable);
    config.port(port);
    let (name, is_local) = match host {
        Host::Tcp(name) => {
            config.host(name);
            let is_loopback = name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback());
            (name.clone(), is_loopback)
        }
        #[cfg(unix)]
        Host::Unix(path) => {
            config.host_path(path);
            (path.display().to_string(), true)
        }
    };
    let has_tls = match sslmode {
        None => !is_local,
        Some("disable") => false,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some(other) => {
            return Err(format!(
                "sslmode={other} is not supported: write verify-full, or disable where nobody can listen"
            ));
        }
    };
    config.ssl_mode(match has_tls {
        true => SslMode::Require,
        false => SslMode::Disable,
    });
    Ok(Server {
        config,
        host: name,
        port,
        has_tls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> PostgresUrl {
        PostgresUrl::parse(url, None).unwrap()
    }

    #[test]
    fn each_host_has_its_port() {
        let url =
            parse("postgres://u:p@a:1,b:2/db?target_session_attrs=read-write&sslmode=disable");
        let servers: Vec<_> = url
            .servers
            .iter()
            .map(|server| (server.host.as_str(), server.port, server.has_tls))
            .collect();
        assert_eq!(servers, [("a", 1, false), ("b", 2, false)]);
        let url = parse("postgresql://u@localhost/db");
        assert_eq!(url.servers[0].port, 5432);
    }

    #[test]
    fn only_local_connections_are_without_tls() {
        for (url, has_tls) in [
            ("postgres://u@localhost/db", false),
            ("postgres://u@127.0.0.1/db", false),
            ("postgres://u@db.example.org/db", true),
            ("postgres://u@db.example.org/db?sslmode=disable", false),
            ("postgres://u@localhost/db?sslmode=verify-full", true),
        ] {
            assert_eq!(parse(url).has_tls(), has_tls, "{url}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (url, expected) in [
            ("postgres://u@/db", "no host"),
            ("postgres://u@h", "no database"),
            ("postgres://h/db", "no user"),
            ("postgres://u@h/db?sslmode=prefer", "sslmode=prefer"),
            (
                "postgres://u@h/db?target_session_attrs=read-only",
                "read-only",
            ),
            ("postgres://u@h:port/db", "cannot be read"),
        ] {
            let error = PostgresUrl::parse(url, None).err().unwrap();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
