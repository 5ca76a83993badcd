//! Clients that sign users in with this server (OAuth 2.1, OpenID Connect): what they may ask for.
//!
//! ```text
//! redirect_uri   where answers may be sent     scope   what a client learns of a user
//! ```

mod redirect_uri;
mod scope;

use std::time::Duration;

use super::{SigningAlgorithm, Timestamp};
pub use redirect_uri::{InvalidRedirectUri, RedirectUri};
pub use scope::{Scope, Scopes};

/// Longest id of a client, in characters.
pub const CLIENT_ID_LENGTH: usize = 100;

/// Longest name of a client, in characters.
pub const CLIENT_NAME_LENGTH: usize = 100;

/// Shortest secret that somebody may choose, in characters. Secrets are hashed by one round of
/// SHA-256, which is enough for long random texts alone.
pub const MIN_CLIENT_SECRET_LENGTH: usize = 32;

/// Longest secret, in characters.
pub const MAX_CLIENT_SECRET_LENGTH: usize = 256;

/// Most redirect URIs of a client, of each kind.
pub const MAX_REDIRECT_URIS: usize = 50;

/// Longest lifetime of access and ID tokens, in minutes.
pub const MAX_ACCESS_MINUTES: u32 = 24 * 60;

/// Longest lifetime of unused refresh tokens of clients, in days. Retired keys are kept as long.
pub const MAX_CLIENT_REFRESH_DAYS: u32 = 365;

/// Longest lifetime of sessions of clients, in days.
pub const MAX_CLIENT_SESSION_DAYS: u32 = 3650;

const DAY: Duration = Duration::from_hours(24);

/// The id in the tokens of this server's own API, which no client may have.
pub const OWN_CLIENT_ID: &str = "accounts-server";

/// What is registered about a client, beside its id and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// What users see.
    pub name: String,
    /// Where answers may be sent.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where browsers may be sent after signing out.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// What it may ask for.
    pub scopes: Scopes,
    /// Whether users are asked before they sign in there the first time. Clients whose redirect URIs
    /// other programs could use ask in any case: see [`ClientSettings::asks_for_consent`].
    pub requires_consent: bool,
    /// The algorithm that signs its tokens.
    pub id_token_alg: SigningAlgorithm,
    /// Lifetime of its access and ID tokens, in minutes.
    pub access_minutes: u32,
    /// Lifetime of an unused refresh token, in days.
    pub refresh_days: u32,
    /// Maximum age of its sessions that outlive the browser session they began in, in days.
    pub session_days: u32,
    /// Whether staff alone may sign in there.
    pub is_staff_only: bool,
    /// Whether users need a second factor to sign in there.
    pub requires_mfa: bool,
}

impl ClientSettings {
    /// The settings of a client that gives nothing but its name and its redirect URIs.
    pub fn new(name: String, redirect_uris: Vec<RedirectUri>) -> Self {
        Self {
            name,
            redirect_uris,
            post_logout_redirect_uris: Vec::new(),
            scopes: Scopes::of(&[Scope::Openid, Scope::Profile, Scope::Email]),
            requires_consent: true,
            id_token_alg: SigningAlgorithm::Rs256,
            access_minutes: 5,
            refresh_days: 30,
            session_days: 365,
            is_staff_only: false,
            requires_mfa: false,
        }
    }

    /// Lifetime of its access and ID tokens.
    pub fn access_lifetime(&self) -> Duration {
        Duration::from_mins(self.access_minutes.into())
    }

    /// Lifetime of an unused refresh token.
    pub fn refresh_lifetime(&self) -> Duration {
        DAY * self.refresh_days
    }

    /// Maximum age of its sessions that outlive the browser session they began in.
    pub fn session_lifetime(&self) -> Duration {
        DAY * self.session_days
    }

    /// Whether users are asked for consent.
    ///
    /// Any program on a device can listen on loopback or claim a scheme, so a client that uses
    /// either cannot prove what it is (RFC 8252, section 8.6): its users are always asked.
    pub fn asks_for_consent(&self) -> bool {
        self.requires_consent || self.redirect_uris.iter().any(RedirectUri::is_native)
    }

    /// The registered redirect URI that allows this one.
    pub fn find_redirect_uri(&self, requested: &str) -> Option<&RedirectUri> {
        let mut uris = self.redirect_uris.iter();
        uris.find(|uri| uri.allows(requested))
    }

    /// Whether browsers may be sent to this URI after signing out.
    pub fn allows_post_logout(&self, requested: &str) -> bool {
        let mut uris = self.post_logout_redirect_uris.iter();
        uris.any(|uri| uri.allows(requested))
    }

    /// Whether pages of this origin (RFC 6454) may read answers to the client's requests: those of
    /// its redirect URIs.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|uri| uri.allows_origin(origin))
    }
}

/// A registered client (RFC 6749, section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClient {
    /// Its `client_id`.
    pub id: String,
    /// SHA-256 of its secret; `None` when it is public (RFC 6749, section 2.1).
    pub secret_hash: Option<Vec<u8>>,
    /// What is registered about it.
    pub settings: ClientSettings,
    /// Whether the configuration file has it; it can be changed nowhere else then.
    pub is_from_file: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl OAuthClient {
    /// Whether it has a secret.
    pub fn is_confidential(&self) -> bool {
        self.secret_hash.is_some()
    }
}

/// Whether a text can be the id of a client: a letter or digit, then letters, digits and `-._~`, which
/// no part of a URL, a form or the header `Authorization` encodes.
pub fn is_client_id(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    (1..=CLIENT_ID_LENGTH).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(is_plain)
        && text != OWN_CLIENT_ID
}

/// Whether somebody may choose this secret: a long text of printable ASCII characters without
/// blanks (RFC 6749, appendix A.2).
pub fn is_client_secret(text: &str) -> bool {
    (MIN_CLIENT_SECRET_LENGTH..=MAX_CLIENT_SECRET_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(uris: &[&str]) -> ClientSettings {
        let parse = |uri: &&str| RedirectUri::parse(uri).unwrap();
        ClientSettings::new("App".into(), uris.iter().map(parse).collect())
    }

    #[test]
    fn ids_need_no_encoding_and_are_not_ours() {
        for id in [
            "grafana",
            "a",
            "com.example.app",
            "A-b_c~1",
            &"x".repeat(100),
        ] {
            assert!(is_client_id(id), "{id}");
        }
        for id in [
            "",
            "a b",
            "a:b",
            "a/b",
            "a%20",
            "ä",
            "..",
            "-a",
            OWN_CLIENT_ID,
            &"x".repeat(101),
        ] {
            assert!(!is_client_id(id), "{id}");
        }
    }

    #[test]
    fn chosen_secrets_are_long() {
        for (secret, is_good) in [
            ("x".repeat(31), false),
            ("x".repeat(32), true),
            ("x".repeat(256), true),
            ("x".repeat(257), false),
            (format!("{} {}", "x".repeat(20), "y".repeat(20)), false),
            ("ü".repeat(32), false),
        ] {
            assert_eq!(is_client_secret(&secret), is_good, "{secret}");
        }
    }

    #[test]
    fn native_clients_always_ask_for_consent() {
        for (uri, asks) in [
            ("https://app.example.com/cb", false),
            ("http://127.0.0.1/cb", true),
            ("http://[::1]/cb", true),
            ("http://localhost:3000/cb", true),
            ("com.example.app:/cb", true),
        ] {
            let mut settings = settings(&["https://other.example.com/cb", uri]);
            assert!(settings.asks_for_consent());
            settings.requires_consent = false;
            assert_eq!(settings.asks_for_consent(), asks, "{uri}");
        }
    }

    #[test]
    fn uris_are_found_by_the_rules() {
        let mut settings = settings(&["https://a.example/cb", "http://127.0.0.1/cb"]);
        let found = |uri| settings.find_redirect_uri(uri).map(RedirectUri::as_str);
        assert_eq!(found("https://a.example/cb"), Some("https://a.example/cb"));
        assert_eq!(
            found("http://127.0.0.1:4711/cb"),
            Some("http://127.0.0.1/cb")
        );
        assert_eq!(found("https://a.example/cb/"), None);
        assert!(!settings.allows_post_logout("https://a.example/cb"));
        settings.post_logout_redirect_uris = settings.redirect_uris.clone();
        assert!(settings.allows_post_logout("https://a.example/cb"));
        assert!(settings.allows_origin("https://a.example"));
        assert!(!settings.allows_origin("https://b.example"));
    }
}
