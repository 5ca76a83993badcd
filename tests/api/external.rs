//! Signing in by external providers: who gets which account, and who does not.

use std::time::Duration;

use accounts_server::config::{AppRedirectUri, Config, FactorRequirement, FileProvider};
use accounts_server::domain::ProviderKind;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::contract::{
    DEAD_TOKEN, EMAIL_VERIFIED, INVALID_OTP, NO_TOKEN, NOT_FOUND, UNKNOWN_CREDENTIALS,
};
use crate::factors::enroll;
use crate::fake_provider::{Authorized, FakeProvider};
use crate::support::{Answer, PASSWORD, TestServer, User, claims};

pub const APP: &str = "https://app.example.com/callback";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const INVALID_CODE: &str = r#"{"code":["Invalid or expired code."]}"#;
const INVALID_TICKET: &str = r#"{"ephemeral_token":["Invalid or expired token."]}"#;
const TAKEN: &str = r#"{"detail":"This account is connected to another user."}"#;
const LAST_WAY_IN: &str =
    r#"{"detail":"This is the only way to sign in. Set a password or add a passkey first."}"#;
const ADA: &str = "ada@example.com";

/// A server with one provider, `it`, which is trusted for addresses.
pub struct Site {
    pub server: TestServer,
    pub provider: FakeProvider,
}

impl Site {
    pub fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub fn with(set: impl FnOnce(&mut FileProvider), configure: impl FnOnce(&mut Config)) -> Self {
        Self::of(ProviderKind::Oidc, set, configure)
    }

    pub fn of(
        kind: ProviderKind,
        set: impl FnOnce(&mut FileProvider),
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let provider = FakeProvider::start(kind);
        let mut settings = provider.settings("it");
        settings.trust_email = kind == ProviderKind::Oidc;
        set(&mut settings);
        let server = TestServer::start_with(|config| {
            config.social_providers = vec![settings];
            config.social.redirect_uris = vec![app(APP)];
            configure(config);
        });
        provider.use_clock(server.clock.clone());
        Self { server, provider }
    }

    /// The account of the provider that signs in from now on.
    pub fn be(&self, subject: &str, email: &str, is_verified: bool) {
        self.provider.change(|behaviour| {
            subject.clone_into(&mut behaviour.subject);
            behaviour.account.insert("email".into(), email.into());
            behaviour
                .account
                .insert("email_verified".into(), is_verified.into());
        });
    }

    /// Starts a sign-in as an app does. Returns the URL of the provider.
    #[track_caller]
    pub fn begin(&self) -> String {
        let answer = begin(&self.server, "it", &begin_query(VERIFIER));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.text("authorization_url")
    }

    /// Signs in at the provider, and returns the code that comes back to the app.
    #[track_caller]
    pub fn code(&self) -> String {
        let authorized = self.provider.authorize(&self.begin());
        self.come_back(&authorized)
    }

    /// Follows what the provider sends back, and returns the code for the app.
    #[track_caller]
    pub fn come_back(&self, authorized: &Authorized) -> String {
        let answer = callback(&self.server, authorized);
        assert_eq!(answer.status, 303, "{}", answer.body);
        parameter(answer.header("location").unwrap(), "code")
    }

    /// Signs in by the provider, from beginning to end.
    #[track_caller]
    pub fn sign_in(&self) -> Answer {
        let code = self.code();
        redeem(&self.server, "it", &code, VERIFIER)
    }

    /// Signs in by the provider with success.
    #[track_caller]
    pub fn signed_in(&self) -> User {
        let pair = self.sign_in();
        assert_eq!(pair.status, 200, "{}", pair.body);
        let claims = claims(&pair.text("access"));
        User {
            id: claims["user_id"].as_i64().unwrap(),
            email: claims["email"].as_str().unwrap().to_owned(),
            access: pair.text("access"),
            refresh: pair.text("refresh"),
        }
    }

    /// Signs in by the provider where this is the answer. Returns its ticket.
    #[track_caller]
    fn ticket(&self, code: &str) -> String {
        let answer = self.sign_in();
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert_eq!(answer.json()["code"], code, "{}", answer.body);
        answer.text("ephemeral_token")
    }

    fn count(&self, table: &str) -> i64 {
        self.server
            .db_number(&format!("SELECT count(*) FROM {table}"))
    }

    fn events(&self, kind: &str) -> i64 {
        self.server.db_number(&format!(
            "SELECT coalesce(sum(count), 0) FROM events WHERE event = '{kind}'"
        ))
    }
}

pub fn app(uri: &str) -> AppRedirectUri {
    AppRedirectUri::parse(uri).unwrap()
}

pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

pub fn begin_query(verifier: &str) -> Vec<(&'static str, String)> {
    vec![
        ("redirect_uri", APP.to_owned()),
        ("code_challenge", challenge(verifier)),
        ("state", "of the app".to_owned()),
    ]
}

pub fn begin(server: &TestServer, provider: &str, query: &[(&str, String)]) -> Answer {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    server.get(&format!("o/{provider}/?{query}"), None)
}

/// The path of a URL of this server.
pub fn path_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap();
    &rest[rest.find('/').unwrap()..]
}

/// Requests what the provider sends the browser back to.
pub fn callback(server: &TestServer, authorized: &Authorized) -> Answer {
    let path = path_of(&authorized.redirect_uri);
    server.request("GET", &format!("{path}?{}", authorized.form()), &[], "")
}

pub fn redeem(server: &TestServer, provider: &str, code: &str, verifier: &str) -> Answer {
    let body = json!({"code": code, "code_verifier": verifier});
    server.post(&format!("o/{provider}/"), &body)
}

/// A parameter in the query of a URL; empty without it.
pub fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map_or(String::new(), |(_, value)| value.into_owned())
}

fn identities(server: &TestServer, user: &User) -> Vec<Value> {
    let answer = server.get("identities/", Some(&user.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}

fn connect(server: &TestServer, user: &User, body: &Value) -> Answer {
    server.api("POST", "identities/", Some(&user.access), body)
}

fn disconnect(server: &TestServer, user: &User) -> Answer {
    let id = identities(server, user)[0]["id"].clone();
    let path = format!("identities/{}/", id.as_str().unwrap());
    server.api("DELETE", &path, Some(&user.access), &json!({}))
}

fn verify(server: &TestServer, email: &str, ticket: &str) -> Answer {
    let otp = server.otp(email);
    let body = json!({"email": email, "otp": otp, "ephemeral_token": ticket});
    server.post("otp/verify/", &body)
}

/// An undo link in the newest mail to an address.
#[track_caller]
fn undo(server: &TestServer, email: &str) -> Answer {
    let mails = server.mails(email);
    let link = mails.iter().find_map(|mail| {
        let link = mail.link.clone()?;
        link.contains("/undo/").then_some(link)
    });
    let link = link.unwrap();
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap();
    server.post(&format!("email/undo/{token}/"), &json!({}))
}

#[test]
fn providers_are_listed_and_a_sign_in_leads_there() {
    let site = Site::new();
    site.server
        .get("providers/", None)
        .assert(200, r#"[{"id":"it","name":"Company"}]"#);
    let request = site.provider.request_of(&site.begin());
    assert_eq!(
        request["redirect_uri"],
        "http://localhost:8000/api/v1/accounts/o/it/callback/"
    );
    // State, nonce and verifier are of this request alone, and not to be found in the database.
    let other = site.provider.request_of(&site.begin());
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(request[name], other[name], "{name}");
        let found = site.server.db_number(&format!(
            "SELECT count(*) FROM provider_requests WHERE code_challenge = '{0}' OR state_hash = \
             CAST('{0}' AS BLOB)",
            request[name]
        ));
        assert_eq!(found, 0, "{name}");
    }
    // Nobody is there without settings.
    let server = TestServer::start();
    server.get("providers/", None).assert(200, "[]");
}

#[test]
fn wrong_requests_of_apps_are_refused() {
    let site = Site::with(
        |_| {},
        |config| config.social.redirect_uris.push(app("com.example.app:/cb")),
    );
    let unknown = r#"{"detail":"Provider 'x' not supported"}"#;
    begin(&site.server, "x", &begin_query(VERIFIER)).assert(404, unknown);
    redeem(&site.server, "x", "a", VERIFIER).assert(404, unknown);
    site.server
        .post("o/x/token/", &json!({"id_token": "a", "nonce": "b"}))
        .assert(404, unknown);
    begin(&site.server, "it", &[]).assert(
        400,
        r#"{"redirect_uri":["This field is required."],"code_challenge":["This field is required."]}"#,
    );
    let foreign = r#"{"redirect_uri":["redirect_uri must be in [social] redirect_uris."]}"#;
    for uri in [
        "https://app.example.com/callback/",
        "https://app.example.com/callback?a=1",
        "https://app.example.com.evil.example/callback",
        "https://APP.example.com/callback",
        "http://app.example.com/callback",
        "com.example.app:/cb2",
    ] {
        let mut query = begin_query(VERIFIER);
        query[0].1 = uri.to_owned();
        begin(&site.server, "it", &query).assert(400, foreign);
    }
    let mut query = begin_query(VERIFIER);
    query[0].1 = "com.example.app:/cb".to_owned();
    assert_eq!(begin(&site.server, "it", &query).status, 200);
    let wrong = r#"{"code_challenge":["Enter a valid S256 code challenge (RFC 7636): 43 characters of base64url."]}"#;
    for challenge in [VERIFIER.get(1..).unwrap().to_owned(), "=".repeat(43)] {
        let mut query = begin_query(VERIFIER);
        query[1].1 = challenge;
        begin(&site.server, "it", &query).assert(400, wrong);
    }
    redeem(&site.server, "it", "", "").assert(
        400,
        r#"{"code":["This field may not be blank."],"code_verifier":["This field may not be blank."]}"#,
    );
}

#[test]
fn somebody_new_gets_a_confirmed_account_without_a_password() {
    let site = Site::new();
    let user = site.signed_in();
    assert_eq!(user.email, ADA);
    let access = claims(&user.access);
    assert_eq!(access["amr"], json!(["fed"]));
    let me = site.server.get("users/me/", Some(&user.access)).json();
    assert_eq!(
        (&me["first_name"], &me["last_name"]),
        (&json!("Ada"), &json!("Lovelace"))
    );
    let rows = identities(&site.server, &user);
    let id = rows[0]["id"].clone();
    assert_eq!(
        rows,
        [json!({
            "id": id, "provider": "it", "email": ADA, "name": "Ada Lovelace",
            "created_at": "2024-12-03T12:00:00Z", "last_used_at": "2024-12-03T12:00:00Z",
        })]
    );
    // No password matches, whatever it is.
    for password in ["!", PASSWORD] {
        site.server
            .sign_in(ADA, password)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
    assert_eq!(site.server.mails(ADA).len(), 0);
    assert_eq!(site.events("sign_up"), 1);
    assert_eq!(site.events("sign_up_confirmed"), 1);
    assert_eq!(site.events("identity_connected"), 1);
    // The next time it is the same account, also under another address.
    site.server.advance(Duration::from_mins(1));
    site.be("248289761001", "ada@other.example", false);
    let again = site.signed_in();
    assert_eq!(again.id, user.id);
    assert_eq!(again.email, ADA);
    let rows = identities(&site.server, &again);
    assert_eq!(rows[0]["last_used_at"], "2024-12-03T12:01:00Z");
    assert_eq!(rows[0]["email"], "ada@other.example");
    assert_eq!((site.count("users"), site.count("identities")), (1, 1));
}

#[test]
fn account_without_a_password_sets_one_by_a_reset() {
    let site = Site::new();
    let user = site.signed_in();
    let change = json!({
        "current_password": "!", "password": "other-password-5", "confirm_password": "other-password-5",
    });
    site.server
        .api("POST", "password/change/", Some(&user.access), &change)
        .assert(400, r#"{"current_password":["Invalid password."]}"#);
    site.server.post("password/reset/", &json!({"email": ADA}));
    let body = json!({
        "email": ADA, "otp": site.server.otp(ADA), "password": "other-password-5",
        "confirm_password": "other-password-5",
    });
    let reset = site.server.post("password/reset/confirm/", &body);
    assert_eq!(reset.status, 200, "{}", reset.body);
    assert_eq!(site.server.sign_in(ADA, "other-password-5").status, 200);
    // The identity stays, as passkeys do.
    assert_eq!(site.signed_in().id, user.id);
}

#[test]
fn account_without_a_password_is_deleted_after_recent_authentication() {
    let site = Site::new();
    let user = site.signed_in();
    site.server.advance(Duration::from_mins(11));
    let old = site
        .server
        .api("DELETE", "users/me/", Some(&user.access), &json!({}));
    old.assert(401, crate::contract::BAD_TOKEN);
    let user = user.with_pair(
        &site
            .server
            .post("token/refresh/", &json!({"refresh": user.refresh})),
    );
    site.server
        .api("DELETE", "users/me/", Some(&user.access), &json!({"password": "!"}))
        .assert(
            403,
            r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["otp"]}"#,
        );
    let user = site.signed_in();
    let gone = site
        .server
        .api("DELETE", "users/me/", Some(&user.access), &json!({}));
    assert_eq!(gone.status, 204, "{}", gone.body);
    for table in ["users", "identities", "identity_tickets"] {
        assert_eq!(site.count(table), 0, "{table}");
    }
}

#[test]
fn verified_account_is_connected_by_its_owner_alone() {
    let site = Site::new();
    let owner = site.server.user(ADA);
    let other = site.server.user("other@example.com");
    let answer = site.sign_in();
    let ticket = answer.text("ephemeral_token");
    answer.assert(
        401,
        &format!(
            r#"{{"detail":"An account with this email address exists. Sign in to connect it.","code":"account_exists","ephemeral_token":"{ticket}"}}"#
        ),
    );
    assert_eq!(site.count("identities"), 0);
    // The ticket is for that account, needs its token, and counts once.
    let body = json!({"ephemeral_token": ticket});
    site.server.post("identities/", &body).assert(401, NO_TOKEN);
    connect(&site.server, &other, &body).assert(400, INVALID_TICKET);
    let connected = connect(&site.server, &owner, &body);
    assert_eq!(connected.status, 201, "{}", connected.body);
    assert_eq!(connected.json()["provider"], "it");
    connect(&site.server, &owner, &body).assert(400, INVALID_TICKET);
    assert_eq!(site.signed_in().id, owner.id);
    // The owner knows of it, and can undo it.
    let mails = site.server.mails(ADA);
    assert!(
        mails[0].text.contains("Company: ada@example.com"),
        "{}",
        mails[0].text
    );
    assert_eq!(undo(&site.server, ADA).status, 200);
    assert_eq!(site.count("identities"), 0);
    assert_eq!(site.sign_in().status, 401);
}

#[test]
fn ticket_expires_and_does_no_harm_in_other_hands() {
    let site = Site::new();
    let owner = site.server.user(ADA);
    let ticket = site.ticket("account_exists");
    site.server.advance(Duration::from_mins(10));
    let owner = owner.with_pair(&site.server.sign_in(ADA, PASSWORD));
    let body = json!({"ephemeral_token": ticket});
    connect(&site.server, &owner, &body).assert(400, INVALID_TICKET);
    // A ticket is not one of a second factor, nor one of a sign-up.
    let ticket = site.ticket("account_exists");
    site.server
        .post(
            "mfa/verify/",
            &json!({"ephemeral_token": ticket, "code": "123456"}),
        )
        .assert(401, DEAD_TOKEN);
    site.server.sign_up("new@example.com");
    let confirmed = verify(&site.server, "new@example.com", &ticket);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    assert_eq!(site.count("identities"), 0);
    assert_eq!(site.server.sign_in("new@example.com", PASSWORD).status, 200);
}

#[test]
fn connecting_wants_recent_authentication() {
    let site = Site::new();
    let owner = site.server.user(ADA);
    site.server.advance(Duration::from_mins(11));
    let refreshed = site
        .server
        .post("token/refresh/", &json!({"refresh": owner.refresh}));
    let owner = owner.with_pair(&refreshed);
    let ticket = site.ticket("account_exists");
    let required = r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["password"]}"#;
    let body = json!({"ephemeral_token": ticket});
    connect(&site.server, &owner, &body).assert(403, required);
    let link = json!({"redirect_uri": APP, "code_challenge": challenge(VERIFIER)});
    site.server
        .api("POST", "o/it/link/", Some(&owner.access), &link)
        .assert(403, required);
    // The ticket was not used up.
    let owner = owner.with_pair(&site.server.sign_in(ADA, PASSWORD));
    assert_eq!(connect(&site.server, &owner, &body).status, 201);
    site.server.advance(Duration::from_mins(4));
    assert_eq!(disconnect(&site.server, &owner).status, 204);
}

#[test]
fn trusted_proof_confirms_a_new_account_and_pending_sign_ups_die() {
    let site = Site::new();
    // A stranger signs up first with somebody else's address, to be there when the owner comes.
    let strange = site.server.sign_up(ADA);
    let id = strange.json()["data"]["id"].as_i64().unwrap();
    let otp = site.server.otp(ADA);
    let owner = site.signed_in();
    assert_eq!(owner.id, id);
    site.server
        .sign_in(ADA, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    site.server
        .post("otp/verify/", &json!({"email": ADA, "otp": otp}))
        .assert(400, INVALID_OTP);
    assert_eq!(site.count("sign_ups"), 0);
    let me = site.server.get("users/me/", Some(&owner.access)).json();
    assert_eq!(me["first_name"], "Ada");
}

#[test]
fn unverified_address_needs_the_code_and_the_ticket() {
    let site = Site::with(|settings| settings.trust_email = false, |_| {});
    let answer = site.sign_in();
    let ticket = answer.text("ephemeral_token");
    answer.assert(
        401,
        &format!(
            r#"{{"detail":"Email address is not verified.","code":"email_not_verified","ephemeral_token":"{ticket}"}}"#
        ),
    );
    // Neither the identity nor any password signs in before.
    assert_eq!(site.sign_in().json()["code"], "email_not_verified");
    site.server
        .sign_in(ADA, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    let ticket = site.ticket("email_not_verified");
    let confirmed = verify(&site.server, ADA, &ticket);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let user = User {
        id: 1,
        email: ADA.to_owned(),
        access: confirmed.text("access"),
        refresh: confirmed.text("refresh"),
    };
    assert_eq!(identities(&site.server, &user)[0]["provider"], "it");
    let me = site.server.get("users/me/", Some(&user.access)).json();
    assert_eq!(me["first_name"], "Ada");
    assert_eq!(site.signed_in().id, me["id"].as_i64().unwrap());
    assert_eq!(site.count("identity_tickets"), 0);
}

#[test]
fn code_without_the_ticket_confirms_the_mailbox_alone() {
    let site = Site::with(|settings| settings.trust_email = false, |_| {});
    // A stranger's account at a provider claims the address; its owner gets the code.
    site.be("stranger", ADA, true);
    let ticket = site.ticket("email_not_verified");
    let otp = site.server.otp(ADA);
    let confirmed = site
        .server
        .post("otp/verify/", &json!({"email": ADA, "otp": otp}));
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let access = confirmed.text("access");
    let me = site.server.get("users/me/", Some(&access)).json();
    assert_eq!(me["first_name"], "");
    assert_eq!(site.count("identities"), 0);
    // The owner gets a reset; the stranger gets nothing, with ticket or without.
    assert!(site.server.mails(ADA)[0].text.contains("password"));
    assert_eq!(site.ticket("account_exists").len(), 43);
    site.server
        .post(
            "otp/verify/",
            &json!({"email": ADA, "otp": otp, "ephemeral_token": ticket}),
        )
        .assert(400, INVALID_OTP);
    assert_eq!(site.count("identities"), 0);
}

#[test]
fn different_identities_and_passwords_contest_an_address() {
    let site = Site::with(|settings| settings.trust_email = false, |_| {});
    // The stranger comes first, with a password; the owner comes by a provider.
    site.server.sign_up(ADA);
    let strange = site.server.otp(ADA);
    site.be("owner", ADA, false);
    let ticket = site.ticket("email_not_verified");
    // The stranger's code proves a mailbox, and nothing of either sign-up counts.
    let confirmed = site.server.post(
        "otp/verify/",
        &json!({"email": ADA, "otp": strange, "ephemeral_token": ticket}),
    );
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    assert_eq!(site.count("identities"), 0);
    site.server
        .sign_in(ADA, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);

    // Two identities contest an address as well; each ticket is for its own sign-up.
    let email = "bob@example.com";
    site.be("stranger", email, false);
    let stolen = site.ticket("email_not_verified");
    site.be("bob", email, false);
    let ticket = site.ticket("email_not_verified");
    let otp = site.server.otp(email);
    let body = |ticket: &str| json!({"email": email, "otp": otp, "ephemeral_token": ticket});
    let confirmed = site.server.post("otp/verify/", &body(&ticket));
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let subject = site.server.db_text("SELECT subject FROM identities");
    assert_eq!(subject, "bob");
    site.server
        .post("otp/verify/", &body(&stolen))
        .assert(400, INVALID_OTP);
    // With the other's ticket the identity would not have counted.
    let email = "eve@example.com";
    site.be("eve", email, false);
    site.ticket("email_not_verified");
    site.be("stranger-2", email, false);
    let other = site.ticket("email_not_verified");
    site.be("eve", email, false);
    site.ticket("email_not_verified");
    let confirmed = verify(&site.server, email, &other);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let found = site
        .server
        .db_number("SELECT count(*) FROM identities WHERE subject IN ('eve', 'stranger-2')");
    assert_eq!(found, 0);
}

#[test]
fn unverified_claim_of_an_address_reaches_no_account() {
    let site = Site::new();
    let victim = site.server.user(ADA);
    // The provider says that the address is not verified.
    site.be("stranger", ADA, false);
    let ticket = site.ticket("account_exists");
    let stranger = site.server.user("stranger@example.com");
    connect(&site.server, &stranger, &json!({"ephemeral_token": ticket}))
        .assert(400, INVALID_TICKET);
    assert_eq!(site.count("identities"), 0);
    // Not even where trusted addresses are connected without asking.
    let site = Site::with(|settings| settings.auto_link = true, |_| {});
    site.server.user(ADA);
    site.be("stranger", ADA, false);
    site.ticket("account_exists");
    assert_eq!(site.count("identities"), 0);
    assert!(!victim.access.is_empty());
}

#[test]
fn trusted_addresses_are_connected_without_asking_where_that_is_set() {
    let site = Site::with(|settings| settings.auto_link = true, |_| {});
    let owner = site.server.user(ADA);
    assert_eq!(site.signed_in().id, owner.id);
    assert_eq!(identities(&site.server, &owner).len(), 1);
    let text = &site.server.mails(ADA)[0].text;
    assert!(text.contains("Company: ada@example.com"), "{text}");
    assert_eq!(site.server.sign_in(ADA, PASSWORD).status, 200);
    assert_eq!(undo(&site.server, ADA).status, 200);
    assert_eq!(site.count("identities"), 0);
    // The provider's account alone does not get past a second factor.
    let site = Site::with(|settings| settings.auto_link = true, |_| {});
    let mut owner = site.server.user(ADA);
    crate::factors::enroll(&site.server, &mut owner);
    site.ticket("account_exists");
    assert_eq!(site.count("identities"), 0);
}

#[test]
fn reserved_address_counts_as_its_accounts() {
    let site = Site::new();
    let owner = site.server.user(ADA);
    let changed = site
        .server
        .patch(&owner.path(), &owner, &json!({"email": "new@example.com"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let otp = site.server.otp("new@example.com");
    site.server
        .api(
            "POST",
            "otp/verify/",
            Some(&owner.access),
            &json!({"email": "new@example.com", "otp": otp}),
        )
        .assert(200, EMAIL_VERIFIED);
    // While the link to undo the change lives, the old address makes no new account.
    let ticket = site.ticket("account_exists");
    let body = json!({"ephemeral_token": ticket});
    assert_eq!(connect(&site.server, &owner, &body).status, 201);
    assert_eq!(site.count("users"), 1);
}

#[test]
fn second_factor_is_asked_for() {
    let site = Site::new();
    let mut user = site.signed_in();
    let device = enroll(&site.server, &mut user);
    let answer = site.sign_in();
    assert_eq!(answer.status, 401, "{}", answer.body);
    let body = answer.json();
    assert_eq!(body["code"], "mfa_required");
    assert_eq!(body["methods"], json!(["totp", "recovery_code"]));
    site.server.advance(Duration::from_secs(30));
    let second =
        json!({"ephemeral_token": body["ephemeral_token"], "code": device.code(&site.server)});
    let pair = site.server.post("mfa/verify/", &second);
    assert_eq!(pair.status, 200, "{}", pair.body);
    assert_eq!(
        claims(&pair.text("access"))["amr"],
        json!(["fed", "otp", "mfa"])
    );
    // The ticket dies with the identity.
    let answer = site.sign_in();
    let ticket = answer.text("ephemeral_token");
    let user = user.with_pair(&pair);
    site.server.post("password/reset/", &json!({"email": ADA}));
    assert_eq!(disconnect_after_password(&site, &user).status, 204);
    site.server.advance(Duration::from_secs(30));
    let second = json!({"ephemeral_token": ticket, "code": device.code(&site.server)});
    site.server
        .post("mfa/verify/", &second)
        .assert(401, DEAD_TOKEN);
}

/// Gives the account a password by a statement, and disconnects its identity.
fn disconnect_after_password(site: &Site, user: &User) -> Answer {
    site.server
        .db_execute("UPDATE users SET password_hash = 'x' WHERE email_key = 'ada@example.com'");
    disconnect(&site.server, user)
}

#[test]
fn factor_may_have_to_be_set_up_first() {
    let site = Site::with(
        |_| {},
        |config| config.mfa.required_for = FactorRequirement::Everyone,
    );
    let user = site.signed_in();
    site.server.get("identities/", Some(&user.access)).assert(
        403,
        r#"{"detail":"Set up two-factor authentication first.","code":"mfa_setup_required"}"#,
    );
    assert_eq!(site.server.get("users/me/", Some(&user.access)).status, 200);
}

#[test]
fn deactivated_accounts_are_refused() {
    let site = Site::new();
    let user = site.signed_in();
    let staff = site.server.staff("staff@example.com");
    site.server
        .patch(&user.path(), &staff, &json!({"is_active": false}));
    site.sign_in().assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(site.events("sign_in_failed"), 1);
    site.server
        .patch(&user.path(), &staff, &json!({"is_active": true}));
    assert_eq!(site.signed_in().id, user.id);
    // A pending sign-up that staff has deactivated is not confirmed by a provider.
    let email = "pending@example.com";
    let id = site.server.sign_up(email).json()["data"]["id"]
        .as_i64()
        .unwrap();
    site.server.patch(
        &format!("users/{id}/"),
        &staff,
        &json!({"is_active": false}),
    );
    site.be("pending", email, true);
    site.sign_in().assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(site.count("identities"), 1);
}

#[test]
fn somebody_new_needs_an_address() {
    let site = Site::new();
    let missing = r#"{"email":["The provider has given no email address. Allow it there, or sign up with an address."]}"#;
    site.provider.change(|behaviour| {
        behaviour.account.remove("email");
    });
    site.sign_in().assert(400, missing);
    site.be("248289761001", "no address", true);
    site.sign_in().assert(400, missing);
    assert_eq!(site.count("users"), 0);
    // Who is known needs none.
    site.be("248289761001", ADA, true);
    let user = site.signed_in();
    site.provider.change(|behaviour| {
        behaviour.account.remove("email");
    });
    assert_eq!(site.signed_in().id, user.id);
    assert_eq!(identities(&site.server, &user)[0]["email"], ADA);
}

#[test]
fn identity_is_connected_by_a_code_of_the_same_session() {
    let site = Site::new();
    let user = site.server.user("user@example.com");
    let other = site.server.user("other@example.com");
    let begin = |user: &User| {
        let link = json!({"redirect_uri": APP, "code_challenge": challenge(VERIFIER)});
        let answer = site
            .server
            .api("POST", "o/it/link/", Some(&user.access), &link);
        assert_eq!(answer.status, 200, "{}", answer.body);
        site.come_back(&site.provider.authorize(&answer.text("authorization_url")))
    };
    let shown = |code: &str| json!({"code": code, "code_verifier": VERIFIER});
    // A code of the session connects; it signs nobody in, and serves no other session.
    connect(&site.server, &other, &shown(&begin(&user))).assert(400, INVALID_CODE);
    let same_user = user.with_pair(&site.server.sign_in(&user.email, PASSWORD));
    connect(&site.server, &same_user, &shown(&begin(&user))).assert(400, INVALID_CODE);
    redeem(&site.server, "it", &begin(&user), VERIFIER).assert(400, INVALID_CODE);
    connect(&site.server, &user, &shown(&site.code())).assert(400, INVALID_CODE);
    let wrong = json!({"code": begin(&user), "code_verifier": format!("{VERIFIER}x")});
    connect(&site.server, &user, &wrong).assert(400, INVALID_CODE);
    assert_eq!(site.count("identities"), 0);
    let code = begin(&user);
    assert_eq!(connect(&site.server, &user, &shown(&code)).status, 201);
    connect(&site.server, &user, &shown(&code)).assert(400, INVALID_CODE);
    // Once more changes nothing; another account cannot have it.
    assert_eq!(
        connect(&site.server, &user, &shown(&begin(&user))).status,
        201
    );
    connect(&site.server, &other, &shown(&begin(&other))).assert(400, TAKEN);
    assert_eq!(site.count("identities"), 1);
    assert_eq!(site.signed_in().id, user.id);
    assert_eq!(site.events("identity_connected"), 1);
    // A request dies with its session.
    let link = json!({"redirect_uri": APP, "code_challenge": challenge(VERIFIER)});
    let url = site
        .server
        .api("POST", "o/it/link/", Some(&other.access), &link)
        .text("authorization_url");
    site.server
        .post("token/blacklist/", &json!({"refresh": other.refresh}));
    let answer = callback(&site.server, &site.provider.authorize(&url));
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[test]
fn last_way_in_stays() {
    let site = Site::new();
    let user = site.signed_in();
    disconnect(&site.server, &user).assert(400, LAST_WAY_IN);
    site.server
        .api("DELETE", "identities/x/", Some(&user.access), &json!({}))
        .assert(404, NOT_FOUND);
    // A second identity will do, of a configured provider.
    site.server.advance_seconds(1);
    site.be("second", "second@example.com", true);
    let link = json!({"redirect_uri": APP, "code_challenge": challenge(VERIFIER)});
    let url = site
        .server
        .api("POST", "o/it/link/", Some(&user.access), &link)
        .text("authorization_url");
    let code = site.come_back(&site.provider.authorize(&url));
    let shown = json!({"code": code, "code_verifier": VERIFIER});
    assert_eq!(connect(&site.server, &user, &shown).status, 201);
    site.server
        .db_execute("UPDATE identities SET provider = 'gone' WHERE subject = 'second'");
    disconnect(&site.server, &user).assert(400, LAST_WAY_IN);
    site.server
        .db_execute("UPDATE identities SET provider = 'it' WHERE subject = 'second'");
    assert_eq!(disconnect(&site.server, &user).status, 204);
    disconnect(&site.server, &user).assert(400, LAST_WAY_IN);
    let text = &site.server.mails(ADA)[0].text;
    assert!(text.contains("can no longer be used"), "{text}");
    assert_eq!(site.events("identity_disconnected"), 1);
    // Others' identities are nobody else's business.
    let other = site.server.user("other@example.com");
    let id = identities(&site.server, &user)[0]["id"].clone();
    let path = format!("identities/{}/", id.as_str().unwrap());
    site.server
        .api("DELETE", &path, Some(&other.access), &json!({}))
        .assert(404, NOT_FOUND);
}

#[test]
fn notices_and_caps_are_those_of_other_sign_ins() {
    let site = Site::with(
        |_| {},
        |config| {
            config.server.trusted_proxies =
                vec![accounts_server::config::IpNetwork::parse("127.0.0.1").unwrap()];
        },
    );
    site.signed_in();
    let code = site.code();
    let body = json!({"code": code, "code_verifier": VERIFIER});
    let answer = site.server.post_from("203.0.113.9", "o/it/", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mails = site.server.mails(ADA);
    assert!(mails[0].text.contains("203.0.113.9"), "{}", mails[0].text);
    let logins = site
        .server
        .db_number("SELECT count(*) FROM users WHERE last_login_at IS NOT NULL");
    assert_eq!(logins, 1);
}

#[test]
fn wrong_codes_and_begun_sign_ins_are_limited_by_network() {
    let site = Site::with(
        |_| {},
        |config| {
            config.rate_limits.enabled = true;
            config.rate_limits.external_sign_ins = 3;
        },
    );
    for _ in 0..3 {
        site.begin();
    }
    let answer = begin(&site.server, "it", &begin_query(VERIFIER));
    answer.assert_throttled(300);
    for _ in 0..20 {
        redeem(&site.server, "it", "wrong", VERIFIER).assert(400, INVALID_CODE);
    }
    redeem(&site.server, "it", "wrong", VERIFIER).assert_throttled(300);
}

#[test]
fn identity_that_was_imported_signs_in() {
    let site = Site::new();
    let owner = site.server.user("owner@example.com");
    site.server.db_execute(&format!(
        "INSERT INTO identities (id, user_id, provider, issuer, subject, email, name, created_at) \
         VALUES ('i', {}, 'it', '{}', '248289761001', '', '', 0)",
        owner.id,
        site.provider.issuer()
    ));
    assert_eq!(site.signed_in().id, owner.id);
    // The same subject at another issuer is somebody else.
    site.server
        .db_execute("UPDATE identities SET issuer = 'https://other.example'");
    assert_ne!(site.signed_in().id, owner.id);
}
