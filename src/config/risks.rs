//! Settings that are valid but risky.

use std::net::IpAddr;

use super::settings::Config;
use super::values::MailTransportKind;

/// A lower bcrypt cost gets a warning.
const MIN_BCRYPT_COST: u32 = 10;

/// A risk of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// What it is about, in a word.
    pub subject: &'static str,
    /// Whether something does not work, rather than being risky.
    pub is_error: bool,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Config {
    /// The risks of these settings alone, without looking at anything else.
    pub fn risks(&self) -> Vec<Risk> {
        let mut risks = Vec::new();
        let mut warn = |subject, text: String| {
            risks.push(Risk {
                subject,
                is_error: false,
                text,
            });
        };
        if self.dev {
            let text = "--dev is for development: weak hashes, no rate limits, and an inbox that \
                        shows every code to this machine";
            warn("settings", text.to_owned());
        }
        if self.passwords.bcrypt_cost < MIN_BCRYPT_COST {
            let text = format!(
                "[passwords] bcrypt_cost is {}: passwords in a stolen database are cracked \
                 quickly; set it to 12",
                self.passwords.bcrypt_cost
            );
            warn("settings", text);
        }
        if !self.rate_limits.enabled {
            let text = "[rate_limits] enabled is false: nothing slows down password guessing";
            warn("settings", text.to_owned());
        }
        let server = &self.server;
        let url = self.public_url(server.listen.port());
        let is_local = is_loopback_url(&url);
        let is_unreachable = server.public_url.is_none() && server.listen.is_unspecified();
        if !is_unreachable && !is_local && url.starts_with("http://") {
            let text = format!(
                "{url} is not encrypted: passwords and tokens can be intercepted; use https"
            );
            warn("public_url", text);
        } else if !is_unreachable && is_local && self.mail_transport() == MailTransportKind::Smtp {
            let text = format!("emails contain links to {url}, which only this machine can reach");
            warn("public_url", text);
        }
        let is_behind_proxy = url.starts_with("https://") && server.listen.is_loopback();
        if is_behind_proxy && server.trusted_proxies.is_empty() {
            let text = "the server seems to be behind a reverse proxy that is not trusted, so all \
                        clients share one set of rate limits; set [server] trusted_proxies to \
                        127.0.0.1";
            warn("trusted_proxies", text.to_owned());
        }
        for (section, allowed, who) in [
            ("webhooks", &self.webhooks.allow_networks, "receivers"),
            ("social", &self.social.allow_networks, "providers"),
        ] {
            if let Some(all) = allowed.iter().find(|all| all.network().prefix_len() == 0) {
                let text = format!(
                    "[{section}] allow_networks contains {}: every service of this network can be \
                     reached; name the networks of the {who}",
                    all.network()
                );
                warn(section, text);
            }
        }
        if !is_unreachable {
            risks.extend(self.passkey_risk(&url));
        }
        if is_unreachable {
            risks.push(Risk {
                subject: "public_url",
                is_error: true,
                text: format!(
                    "links begin with {url}, which nobody can reach; set [server] public_url"
                ),
            });
        }
        risks
    }
}

/// Whether a URL leads to this machine alone.
pub fn is_loopback_url(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = host.strip_prefix('[').map_or_else(
        || host.split(':').next().unwrap_or_default(),
        |rest| rest.split(']').next().unwrap_or_default(),
    );
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::values::IpNetwork;
    use super::*;

    #[test]
    fn webhooks_into_every_network_are_a_risk() {
        for (network, is_risk) in [("10.0.0.0/8", false), ("0.0.0.0/0", true), ("::/0", true)] {
            let mut config = Config::defaults(false);
            config.webhooks.allow_networks = vec![IpNetwork::parse(network).unwrap()];
            let risks = config.risks();
            let is_named = risks.iter().any(|risk| risk.text.contains(network));
            assert_eq!(is_named, is_risk, "{risks:?}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for url in [
            "http://localhost:8000",
            "http://127.0.0.1",
            "http://127.0.0.2",
            "http://[::1]:8000/x",
            "https://app.localhost",
        ] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in [
            "https://a.example",
            "http://10.0.0.1:80",
            "http://localhost.example",
            "http://[::2]",
        ] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }
}
