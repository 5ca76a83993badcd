//! Checks of the settings alone, and of the certificate.

use super::Report;
use crate::config::{Config, MailTransportKind};
use crate::domain::Timestamp;
use crate::server;

/// A lower bcrypt cost gets a warning.
const MIN_BCRYPT_COST: u32 = 10;

/// Checks the settings that are risky without looking at anything else.
pub(super) fn check_settings(config: &Config, report: &mut Report) {
    let server = &config.server;
    if config.dev {
        report.warning(
            "settings",
            "--dev is for development: weak hashes, no rate limits, and an inbox that shows every \
             code to this machine",
        );
    }
    if config.passwords.bcrypt_cost < MIN_BCRYPT_COST {
        report.warning(
            "settings",
            format!(
                "[passwords] bcrypt_cost is {}: passwords in a stolen database are cracked \
                 quickly; set it to 12",
                config.passwords.bcrypt_cost
            ),
        );
    }
    if !config.rate_limits.enabled {
        report.warning(
            "settings",
            "[rate_limits] enabled is false: nothing slows down password guessing",
        );
    }
    report.ok_if_silent("settings", "no risky setting");
    check_public_url(config, report);
    let is_behind_proxy = config
        .public_url(server.listen.port())
        .starts_with("https://")
        && server.listen.is_loopback();
    if is_behind_proxy && server.trusted_proxies.is_empty() {
        report.warning(
            "trusted_proxies",
            "the server seems to be behind a reverse proxy that is not trusted, so all clients \
             share one set of rate limits; set [server] trusted_proxies to 127.0.0.1",
        );
    }
}

fn check_public_url(config: &Config, report: &mut Report) {
    let server = &config.server;
    let url = config.public_url(server.listen.port());
    let is_local = is_loopback_url(&url);
    if server.public_url.is_none() && server.listen.is_unspecified() {
        report.error(
            "public_url",
            format!("links begin with {url}, which nobody can reach; set [server] public_url"),
        );
    } else if !is_local && url.starts_with("http://") {
        report.warning(
            "public_url",
            format!("{url} is not encrypted: passwords and tokens can be intercepted; use https"),
        );
    } else if is_local && config.mail_transport() == MailTransportKind::Smtp {
        report.warning(
            "public_url",
            format!("emails contain links to {url}, which only this machine can reach"),
        );
    }
    report.ok_if_silent("public_url", url);
}

/// Checks that the configured certificate can be used now.
pub(super) fn check_certificate(config: &Config, now: Timestamp, report: &mut Report) {
    match server::check_certificate(&config.tls, now) {
        Ok(is_on) => {
            if is_on && let Some((cert, _)) = config.tls.files() {
                report.ok("tls", format!("{} is valid", cert.display()));
            }
        }
        Err(e) => report.error("tls", e),
    }
}

fn is_loopback_url(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_urls_are_recognised() {
        for url in [
            "http://localhost:8000",
            "http://127.0.0.1",
            "http://[::1]:8000/x",
            "https://app.localhost",
        ] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in [
            "https://a.example",
            "http://10.0.0.1:80",
            "http://localhost.example",
        ] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }
}
