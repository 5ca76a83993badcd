//! An OAuth client from outside: what it registers, and what it asks.

use accounts_server::domain::{ClientSettings, RedirectUri, Scope, Scopes};
use accounts_server::store::{
    DeleteOAuthClient, NewOAuthClient, OAuthClientOutcome, RequestContext,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::applications::{VERIFIER, answered_at, led_to, parameters, query, waiting};
use crate::browser::Browser;
use crate::support::{Answer, TestServer, User};

/// Where codes of every client here go.
pub const REDIRECT: &str = "https://shop.example/callback";

/// Another redirect URI of them.
pub const OTHER_REDIRECT: &str = "https://shop.example/other";

/// The origin of the pages of a client.
pub const ORIGIN: &str = "https://shop.example";

/// The secret of every client here that has one.
pub const SECRET: &str = "a-secret-of-32-characters-or-more+%";

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A registered client.
#[derive(Clone, Copy)]
pub struct RelyingParty<'a> {
    pub server: &'a TestServer,
    pub id: &'a str,
    pub secret: Option<&'a str>,
}

impl<'a> RelyingParty<'a> {
    /// Registers a client with a secret, whose users need not consent.
    pub fn register(
        server: &'a TestServer,
        id: &'a str,
        change: impl FnOnce(&mut ClientSettings),
    ) -> Self {
        Self::register_with(server, id, Some(SECRET), change)
    }

    /// Registers a client without a secret.
    pub fn register_public(server: &'a TestServer, id: &'a str) -> Self {
        Self::register_with(server, id, None, |_| {})
    }

    fn register_with(
        server: &'a TestServer,
        id: &'a str,
        secret: Option<&'a str>,
        change: impl FnOnce(&mut ClientSettings),
    ) -> Self {
        let uris = [REDIRECT, OTHER_REDIRECT].map(|uri| RedirectUri::parse(uri).unwrap());
        let mut settings = ClientSettings::new("The application".into(), uris.to_vec());
        settings.scopes = Scopes::of(&Scope::ALL);
        settings.requires_consent = false;
        change(&mut settings);
        let secret_hash = secret.map(|secret| Sha256::digest(secret).to_vec());
        let id_of_client = id.to_owned();
        let outcome = server.run(async move |app| {
            let new = NewOAuthClient {
                id: id_of_client,
                secret_hash,
                settings,
                is_from_file: false,
                now: app.clock.now(),
                context: RequestContext::default(),
            };
            app.store.create_oauth_client(new).await.unwrap()
        });
        assert!(matches!(outcome, OAuthClientOutcome::Done(_)));
        Self { server, id, secret }
    }

    /// Changes what is registered, as `client` does beside a running server.
    pub fn set(&self, change: &str) {
        let id = self.id;
        let changed = format!("UPDATE oauth_clients SET {change} WHERE id = '{id}'");
        assert_eq!(self.server.db_execute(&changed), 1);
    }

    pub fn remove(&self) {
        let id = self.id.to_owned();
        let outcome = self.server.run(async move |app| {
            let removal = DeleteOAuthClient {
                id,
                is_from_file: false,
                now: app.clock.now(),
                context: RequestContext::default(),
            };
            app.store.delete_oauth_client(removal).await.unwrap()
        });
        assert!(matches!(outcome, OAuthClientOutcome::Done(_)));
    }

    /// A code for who is signed in to the browser.
    pub fn code(&self, browser: &mut Browser<'_>, scopes: &str) -> String {
        self.code_with(browser, scopes, None)
    }

    /// A code, with a `nonce`. Who is asked for consent gives it.
    pub fn code_with(
        &self,
        browser: &mut Browser<'_>,
        scopes: &str,
        nonce: Option<&str>,
    ) -> String {
        let request = query(&parameters(&[
            ("client_id", Some(self.id)),
            ("redirect_uri", Some(REDIRECT)),
            ("scope", Some(scopes)),
            ("state", None),
            ("nonce", nonce),
        ]));
        let answer = browser.get(&format!("/o/authorize/?{request}"));
        let location = answer.header("location").unwrap_or_default().to_owned();
        let url = if location.starts_with("/o/") {
            led_to(&browser.decide(&waiting(&answer), "allow"))
        } else {
            location
        };
        answered_at(&url, REDIRECT)["code"].clone()
    }

    /// Exchanges a code.
    pub fn exchange(&self, code: &str) -> Answer {
        self.exchange_with(code, &[])
    }

    /// Exchanges a code, with other parameters than the right ones.
    pub fn exchange_with(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let right = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let fields: Vec<_> = right
            .into_iter()
            .map(|(name, value)| {
                let changed = changes.iter().find(|(known, _)| *known == name);
                (name, changed.map_or(value, |(_, value)| value))
            })
            .collect();
        self.post("/o/token/", &fields)
    }

    /// The tokens of who is signed in to the browser.
    #[track_caller]
    pub fn sign_in(&self, browser: &mut Browser<'_>, scopes: &str) -> Value {
        let answer = self.exchange(&self.code(browser, scopes));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Rotates the refresh token of these tokens.
    pub fn refresh(&self, tokens: &Value) -> Answer {
        self.refresh_with(tokens["refresh_token"].as_str().unwrap(), &[])
    }

    /// Rotates a refresh token, with further parameters.
    pub fn refresh_with(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        fields.extend_from_slice(more);
        self.post("/o/token/", &fields)
    }

    /// Sends a form with the client's credentials.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, fields, &[])
    }

    /// Sends a form with the client's credentials and further headers.
    pub fn post_with(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let basic = self.secret.map(|secret| basic(self.id, secret));
        let mut all = vec![FORM];
        match &basic {
            Some(basic) => all.push(("authorization", basic)),
            None => {
                form.append_pair("client_id", self.id);
            }
        }
        all.extend_from_slice(headers);
        self.server.request("POST", path, &all, form.finish())
    }
}

/// The header of `client_secret_basic`, form-encoded as RFC 6749 wants.
pub fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", STANDARD.encode(pair))
}

/// A browser in which somebody is signed in.
#[track_caller]
pub fn signed_in<'a>(server: &'a TestServer, user: &User) -> Browser<'a> {
    let mut browser = Browser::new(server);
    let answer = browser.sign_in(&user.email);
    assert_eq!(answer.status, 303, "{}", answer.body);
    browser
}

/// The header of a token.
pub fn header(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
