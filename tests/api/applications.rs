//! What tests of signing in to applications share: registered clients, requests and answers.

use std::collections::BTreeMap;

use accounts_server::accounts;
use accounts_server::crypto::tokens::{ClientTokenSubject, IdTokenContent};
use accounts_server::domain::{
    ClientSettings, RedirectUri, Scope, Scopes, SigningAlgorithm, Timestamp,
};
use accounts_server::store::{
    ClientSession, NewOAuthClient, OAuthClientOutcome, RedeemCode, RedeemOutcome, RequestContext,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::browser::Browser;
use crate::support::{Answer, START, TestServer};

/// The redirect URI of the client `app`.
pub const CALLBACK: &str = "https://app.example/cb";

/// A PKCE verifier (RFC 7636, section 4.1).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// The S256 challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Registers the client `app`, with changed settings.
pub fn register(server: &TestServer, change: impl FnOnce(&mut ClientSettings)) {
    register_as(server, "app", &[CALLBACK], change);
}

/// Registers a public client.
pub fn register_as(
    server: &TestServer,
    id: &str,
    uris: &[&str],
    change: impl FnOnce(&mut ClientSettings),
) {
    let uris = uris.iter().map(|uri| RedirectUri::parse(uri).unwrap());
    let mut settings = ClientSettings::new(format!("The {id}"), uris.collect());
    settings.scopes = Scopes::of(&Scope::ALL);
    // RSA keys take a second to make.
    settings.id_token_alg = SigningAlgorithm::Es256;
    change(&mut settings);
    let new = NewOAuthClient {
        id: id.to_owned(),
        secret_hash: None,
        settings,
        is_from_file: false,
        now: Timestamp::from_unix_millis(START),
        context: RequestContext::default(),
    };
    let outcome = server.run(async |app| app.store.create_oauth_client(new).await.unwrap());
    assert!(
        matches!(outcome, OAuthClientOutcome::Done(_)),
        "{outcome:?}"
    );
}

/// The parameters of a right request of the client `app`, some of them changed. `None` leaves one
/// out.
pub fn parameters(changes: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
    let challenge = challenge(VERIFIER);
    let mut all: Vec<(&str, &str)> = vec![
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("state", "a state"),
        ("nonce", "a nonce"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        all.retain(|(known, _)| known != name);
        all.extend(value.map(|value| (*name, value)));
    }
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    all.into_iter().map(owned).collect()
}

/// The path of a request.
pub fn path(changes: &[(&str, Option<&str>)]) -> String {
    format!("/o/authorize/?{}", query(&parameters(changes)))
}

pub fn query(pairs: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The parameters of an answer that is sent to a redirect URI.
#[track_caller]
pub fn answered_at(url: &str, uri: &str) -> BTreeMap<String, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    assert_eq!(base, uri, "{url}");
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "nothing is repeated in {url}");
    map
}

/// The parameters of an answer by a redirect to the client `app`.
#[track_caller]
pub fn redirected(answer: &Answer) -> BTreeMap<String, String> {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let map = answered_at(answer.header("location").unwrap(), CALLBACK);
    assert_eq!(map["iss"], "http://localhost:8000");
    map
}

/// Where a page leads on to by itself.
#[track_caller]
pub fn led_to(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (_, rest) = answer
        .body
        .split_once("<meta http-equiv=\"refresh\" content=\"0; url=")
        .unwrap_or_else(|| panic!("no refresh in {}", answer.body));
    let url = rest.split('"').next().unwrap().to_owned();
    let link = format!("<a class=\"button full\" href=\"{url}\">");
    assert!(answer.body.contains(&link), "the same as a link");
    unescaped(&url)
}

/// A text as it is without the escapes of HTML.
pub fn unescaped(text: &str) -> String {
    text.replace("&#x2f;", "/")
        .replace("&#x27;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// Follows a redirect to the path of a request that waits. Returns the path.
#[track_caller]
pub fn waiting(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let path = answer.header("location").unwrap();
    let id = path
        .strip_prefix("/o/authorize/")
        .or_else(|| path.strip_prefix("/o/logout/"))
        .and_then(|rest| rest.strip_suffix('/'))
        .unwrap_or_else(|| panic!("{path}"));
    let is_id = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    assert!(id.len() == 43 && is_id, "{id}");
    path.to_owned()
}

impl Browser<'_> {
    /// Answers the question of a page at this path.
    pub fn decide(&mut self, path: &str, action: &str) -> Answer {
        let token = self.token(path);
        self.post(path, &[("form_token", &token), ("action", action)])
    }

    /// Allows the client `app` what a request asks for, and returns the code.
    #[track_caller]
    pub fn allow(&mut self, changes: &[(&str, Option<&str>)]) -> String {
        let asked = self.get(&path(changes));
        let at = waiting(&asked);
        let answer = self.decide(&at, "allow");
        answered_at(&led_to(&answer), CALLBACK)["code"].clone()
    }
}

/// Redeems a code as the client's token request does.
pub fn redeem(server: &TestServer, code: &str) -> RedeemOutcome {
    let code_hash = Sha256::digest(code).to_vec();
    server.run(async |app| {
        let now = app.clock.now();
        let hour = std::time::Duration::from_hours(1);
        let request = RedeemCode {
            code_hash,
            client_id: "app".into(),
            redirect_uri: CALLBACK.into(),
            code_challenge: challenge(VERIFIER),
            refresh_id: format!("refresh of {code}"),
            refresh_lifetime: 24 * hour,
            session_lifetime: 240 * hour,
            lifetimes: accounts_server::domain::SessionLifetimes::default(),
            now,
            context: RequestContext::default(),
        };
        app.store.redeem_code(request).await.unwrap()
    })
}

/// The session that a code has started.
#[track_caller]
pub fn started(outcome: RedeemOutcome) -> ClientSession {
    match outcome {
        RedeemOutcome::Started { session, .. } => *session,
        other => panic!("{other:?}"),
    }
}

/// An ID token of a session, for a client.
pub fn id_token(server: &TestServer, client_id: &str, session: &ClientSession) -> String {
    server.run(async |app| {
        let client = app.store.find_oauth_client(client_id).await.unwrap();
        let client = client.unwrap();
        let tokens = accounts::signing_for_client(&app, client.settings.id_token_alg);
        let subject = ClientTokenSubject {
            client: &client,
            user_id: session.user.id,
            session_id: &session.id,
            authentication: &session.authentication,
            scopes: &session.scopes,
            session_end: None,
        };
        let content = IdTokenContent {
            nonce: None,
            access: "an access token",
            claims: &serde_json::Map::new(),
        };
        let tokens = tokens.await.unwrap();
        tokens
            .issue_id_token(subject, content, app.clock.now())
            .unwrap()
    })
}
