//! The protocol towards external identity providers: what is sent to them, what is believed of their
//! answers, and what hostile ones cannot do.

use std::time::Duration;

use accounts_server::config::{FileProvider, Secret};
use accounts_server::domain::{IdTokenAlgorithm, ProviderKind, Timestamp};
use accounts_server::providers::{
    AuthorizationAnswer, AuthorizationRequest, ExternalUser, ProviderError, TokenUse,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fake_provider::{
    Authorized, Behaviour, CLIENT_ID, CLIENT_SECRET, Endpoint, FakeProvider, Fault, KEY_ID,
    Signature, TENANT,
};
use crate::support::TestServer;

const REDIRECT_URI: &str = "http://localhost:8000/api/v1/accounts/o/it/callback/";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-";
const NONCE: &str = "a-nonce";
const ID: &str = "it";

/// A server and a provider of it.
struct Pair {
    server: TestServer,
    provider: FakeProvider,
}

impl Pair {
    fn new(kind: ProviderKind) -> Self {
        Self::with(kind, |_| {}, |_| {})
    }

    fn with(
        kind: ProviderKind,
        behave: impl FnOnce(&mut Behaviour),
        set: impl FnOnce(&mut FileProvider),
    ) -> Self {
        let provider = FakeProvider::start(kind);
        provider.change(behave);
        let mut settings = provider.settings(ID);
        set(&mut settings);
        let server = TestServer::start_with(|config| config.social_providers = vec![settings]);
        provider.use_clock(server.clock.clone());
        Self { server, provider }
    }

    fn url(&self) -> Result<String, ProviderError> {
        self.url_with(None, false)
    }

    fn url_with(&self, locale: Option<&str>, force_login: bool) -> Result<String, ProviderError> {
        let code_challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let request = AuthorizationRequest {
            redirect_uri: REDIRECT_URI,
            state: "a-state",
            nonce: NONCE,
            code_challenge: &code_challenge,
            locale,
            force_login,
        };
        self.server.run(async |app| {
            let provider = app.providers.get(ID).unwrap();
            provider.authorization_url(&request).await
        })
    }

    fn exchange(&self, answer: &AuthorizationAnswer<'_>) -> Result<ExternalUser, ProviderError> {
        self.server
            .run(async |app| app.providers.get(ID).unwrap().exchange(answer).await)
    }

    /// Signs in as a browser and this server would.
    fn sign_in(&self) -> Result<ExternalUser, ProviderError> {
        let authorized = self.provider.authorize(&self.url()?);
        self.exchange(&answer(&authorized))
    }

    fn verify(&self, token: &str, nonce: &str) -> Result<(ExternalUser, TokenUse), ProviderError> {
        self.server.run(async |app| {
            let provider = app.providers.get(ID).unwrap();
            provider.verify_id_token(token, nonce).await
        })
    }
}

fn answer(authorized: &Authorized) -> AuthorizationAnswer<'_> {
    let optional = |name: &str| Some(authorized.field(name)).filter(|text| !text.is_empty());
    AuthorizationAnswer {
        code: authorized.field("code"),
        iss: optional("iss"),
        user: optional("user"),
        redirect_uri: REDIRECT_URI,
        code_verifier: VERIFIER,
        nonce: NONCE,
    }
}

/// The reason of a refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ProviderError>) -> String {
    match result {
        Err(ProviderError::Refused { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Why the provider is unavailable.
#[track_caller]
fn unavailable<T: std::fmt::Debug>(result: Result<T, ProviderError>) -> String {
    match result {
        Err(ProviderError::Unavailable { reason }) => reason,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[test]
fn users_sign_in_with_every_kind() {
    for (kind, has_names) in [
        (ProviderKind::Google, true),
        (ProviderKind::Github, false),
        (ProviderKind::Apple, true),
        (ProviderKind::Microsoft, true),
        (ProviderKind::Oidc, true),
    ] {
        let pair = Pair::with(
            kind,
            |_| {},
            |settings| {
                settings.trust_email = kind == ProviderKind::Oidc;
            },
        );
        let user = pair.sign_in().unwrap();
        assert_eq!(user.issuer, pair.provider.issuer(), "{kind}");
        let is_github = kind == ProviderKind::Github;
        let subject = if is_github { "583231" } else { "248289761001" };
        assert_eq!(user.subject, subject, "{kind}");
        assert_eq!(user.email.as_deref(), Some("ada@example.com"), "{kind}");
        assert!(user.is_email_trusted, "{kind}");
        let is_apple = kind == ProviderKind::Apple;
        let name = (!is_apple).then_some("Ada Lovelace");
        assert_eq!(user.name.as_deref(), name, "{kind}");
        let given_name = (has_names && kind != ProviderKind::Microsoft).then_some("Ada");
        assert_eq!(user.given_name.as_deref(), given_name, "{kind}");
        assert_eq!(user.auth_time.is_some(), !is_github, "{kind}");
    }
}

#[test]
fn requests_have_what_each_kind_wants() {
    for (kind, scope, extra) in [
        (
            ProviderKind::Google,
            "openid email profile",
            ("hl", "pt-BR"),
        ),
        (
            ProviderKind::Github,
            "read:user user:email",
            ("prompt", "select_account"),
        ),
        (
            ProviderKind::Apple,
            "openid name email",
            ("response_mode", "form_post"),
        ),
        (
            ProviderKind::Microsoft,
            "openid email profile",
            ("max_age", "0"),
        ),
        (
            ProviderKind::Oidc,
            "openid email profile",
            ("prompt", "login"),
        ),
    ] {
        let pair = Pair::new(kind);
        let url = pair.url_with(Some("pt-BR"), true).unwrap();
        let fields = pair.provider.request_of(&url);
        assert_eq!(fields["scope"], scope);
        assert_eq!(fields["redirect_uri"], REDIRECT_URI);
        assert_eq!(fields["state"], "a-state");
        assert_eq!(fields[extra.0], extra.1, "{kind}");
        let nonce = fields.get("nonce").map(String::as_str);
        assert_eq!(nonce, (kind != ProviderKind::Github).then_some(NONCE));
        let usual = pair.provider.request_of(&pair.url().unwrap());
        assert!(!usual.contains_key("prompt") && !usual.contains_key("max_age"));
    }
    let scopes = vec!["openid".to_owned(), "groups".to_owned()];
    let pair = Pair::with(
        ProviderKind::Oidc,
        |_| {},
        |settings| settings.scopes = scopes,
    );
    let fields = pair.provider.request_of(&pair.url().unwrap());
    assert_eq!(fields["scope"], "openid groups");
}

#[test]
fn endpoints_and_keys_are_kept_for_an_hour() {
    let pair = Pair::new(ProviderKind::Oidc);
    let counts = || {
        let count = |path| pair.provider.count(path);
        (count("/.well-known/openid-configuration"), count("/jwks"))
    };
    for _ in 0..3 {
        pair.sign_in().unwrap();
    }
    assert_eq!(counts(), (1, 1));
    pair.server.advance(Duration::from_secs(3599));
    pair.sign_in().unwrap();
    assert_eq!(counts(), (1, 1));
    pair.server.advance(Duration::from_secs(1));
    pair.sign_in().unwrap();
    assert_eq!(counts(), (2, 2));
    // Each sign-in is one request for tokens.
    let answered = "accounts_provider_requests_total{kind=\"oidc\",outcome=\"answered\"}";
    assert_eq!(pair.server.metric(answered), 2 + 2 + 5);
}

#[test]
fn unknown_key_is_looked_up_once_a_minute() {
    let pair = Pair::new(ProviderKind::Oidc);
    pair.sign_in().unwrap();
    // A rotation is followed at once.
    pair.provider.change(|it| it.key_id = "key-2".into());
    pair.sign_in().unwrap();
    assert_eq!(pair.provider.count("/jwks"), 2);
    pair.provider.change(|it| it.key_id = "key-3".into());
    let reason = refused(pair.sign_in());
    assert!(reason.contains("its key \"key-3\" is not in"), "{reason}");
    assert_eq!(pair.provider.count("/jwks"), 2);
    pair.server.advance(Duration::from_mins(1));
    pair.sign_in().unwrap();
    assert_eq!(pair.provider.count("/jwks"), 3);
}

#[test]
fn key_that_is_replaced_under_its_name_is_looked_up() {
    let pair = || {
        Pair::with(
            ProviderKind::Oidc,
            |it| it.algorithm = IdTokenAlgorithm::Es256,
            |_| {},
        )
    };
    let other = pair().provider.key_set();
    let pair = pair();
    pair.provider.change(|it| it.key_set = Some(other));
    refused(pair.sign_in());
    pair.provider.change(|it| it.key_set = None);
    pair.server.advance(Duration::from_mins(1));
    pair.sign_in().unwrap();
}

#[test]
fn address_is_taken_as_it_is() {
    let long = format!("{}@example.com.attacker.example", "a".repeat(138));
    let pair = Pair::with(
        ProviderKind::Oidc,
        |it| drop(it.account.insert("email".into(), long.clone().into())),
        |settings| settings.trust_email = true,
    );
    assert_eq!(pair.sign_in().unwrap().email.as_ref(), Some(&long));
    let emails = json!([{"email": long, "primary": true, "verified": true}]);
    let pair = Pair::with(ProviderKind::Github, |it| it.emails = emails, |_| {});
    assert_eq!(pair.sign_in().unwrap().email.as_ref(), Some(&long));
}

#[test]
fn address_is_verified_by_its_own_source_alone() {
    let trust = |settings: &mut FileProvider| settings.trust_email = true;
    let pair = Pair::with(ProviderKind::Oidc, |it| it.has_userinfo = true, trust);
    pair.provider.change(|it| {
        it.claims.insert("email_verified".into(), json!(true));
        it.userinfo.insert("email_verified".into(), Value::Null);
    });
    let user = pair.sign_in().unwrap();
    assert_eq!(user.email.as_deref(), Some("ada@example.com"));
    assert!(!user.is_email_trusted);
}

#[test]
fn address_is_trusted_by_the_rules_of_each_kind() {
    let cases: &[(ProviderKind, &str, Value, bool)] = &[
        (ProviderKind::Google, "email_verified", json!(false), false),
        (ProviderKind::Google, "email_verified", json!("true"), false),
        (ProviderKind::Google, "email_verified", Value::Null, false),
        (ProviderKind::Apple, "email_verified", json!(true), true),
        (ProviderKind::Apple, "email_verified", json!("false"), false),
        (ProviderKind::Apple, "email_verified", Value::Null, false),
        (ProviderKind::Microsoft, "xms_edov", json!("1"), true),
        (ProviderKind::Microsoft, "xms_edov", json!(1), true),
        (ProviderKind::Microsoft, "xms_edov", json!(0), false),
        (ProviderKind::Microsoft, "xms_edov", json!(false), false),
        (ProviderKind::Microsoft, "xms_edov", Value::Null, false),
        (ProviderKind::Oidc, "email_verified", json!(true), false),
    ];
    for (kind, claim, value, is_trusted) in cases {
        let pair = Pair::with(
            *kind,
            |it| {
                it.claims.insert((*claim).to_owned(), value.clone());
                // Only `xms_edov` counts for Microsoft.
                if *kind == ProviderKind::Microsoft {
                    it.claims.insert("email_verified".to_owned(), json!(true));
                }
            },
            |_| {},
        );
        let user = pair.sign_in().unwrap();
        assert_eq!(user.is_email_trusted, *is_trusted, "{kind} {claim} {value}");
        assert_eq!(user.email.as_deref(), Some("ada@example.com"));
    }
    let pair = Pair::with(
        ProviderKind::Oidc,
        |it| drop(it.claims.insert("email_verified".into(), json!("true"))),
        |settings| settings.trust_email = true,
    );
    assert!(
        !pair.sign_in().unwrap().is_email_trusted,
        "a text is not true"
    );
    let pair = Pair::with(
        ProviderKind::Google,
        |it| drop(it.account.remove("email")),
        |_| {},
    );
    let user = pair.sign_in().unwrap();
    assert_eq!((user.email, user.is_email_trusted), (None, false));
}

#[test]
fn github_gives_its_primary_address() {
    let with = |emails: Value| {
        let pair = Pair::with(ProviderKind::Github, |it| it.emails = emails, |_| {});
        let user = pair.sign_in().unwrap();
        (user.email, user.is_email_trusted)
    };
    let unverified = json!([
        {"email": "ada@example.com", "primary": true, "verified": false},
        {"email": "other@example.com", "primary": false, "verified": true},
    ]);
    assert_eq!(with(unverified), (Some("ada@example.com".into()), false));
    assert_eq!(with(json!([])), (None, false));
    // Without the scope, GitHub finds nothing.
    let pair = Pair::new(ProviderKind::Github);
    let fault = Fault::Answer("404 Not Found", "{\"message\":\"Not Found\"}".into());
    pair.provider
        .change(|it| drop(it.faults.insert(Endpoint::Emails, fault)));
    assert_eq!(pair.sign_in().unwrap().email, None);
}

#[test]
fn github_answers_errors_with_200() {
    let pair = Pair::new(ProviderKind::Github);
    let authorized = pair.provider.authorize(&pair.url().unwrap());
    let answer = answer(&authorized);
    pair.exchange(&answer).unwrap();
    let reason = refused(pair.exchange(&answer));
    assert!(reason.contains("bad_verification_code"), "{reason}");
    let pair = Pair::with(
        ProviderKind::Github,
        |_| {},
        |settings| {
            settings.client_secret = Secret::new("wrong".into());
        },
    );
    let reason = unavailable(pair.sign_in());
    assert!(reason.contains("incorrect_client_credentials"), "{reason}");
    let reason = refused(pair.verify("a.b.c", NONCE));
    assert!(reason.contains("no ID tokens"), "{reason}");
}

#[test]
fn apple_gives_the_name_in_its_form_alone() {
    let pair = Pair::new(ProviderKind::Apple);
    let authorized = pair.provider.authorize(&pair.url().unwrap());
    assert!(authorized.form().contains("user="));
    let mut answer = answer(&authorized);
    // Nothing but a name is taken from it: nothing signs it.
    let form = json!({
        "name": {"firstName": " Eve\u{202e} ", "lastName": "x".repeat(1000)},
        "email": "eve@example.com", "sub": "eve",
    })
    .to_string();
    answer.user = Some(&form);
    let user = pair.exchange(&answer).unwrap();
    assert_eq!(user.given_name.as_deref(), Some("Eve\u{fffd}"));
    assert_eq!(user.family_name.map(|name| name.len()), Some(150));
    assert_eq!(user.email.as_deref(), Some("ada@example.com"));
    assert_eq!(user.subject, "248289761001");
    // Later, and with whatever a browser makes of it, there is none.
    for form in [None, Some("x"), Some("[]"), Some("{\"name\":7}")] {
        let authorized = pair.provider.authorize(&pair.url().unwrap());
        let mut answer = self::answer(&authorized);
        answer.user = form;
        assert_eq!(pair.exchange(&answer).unwrap().given_name, None);
    }
}

#[test]
fn apple_accepts_its_key_alone() {
    let pair = Pair::with(
        ProviderKind::Apple,
        |_| {},
        |settings| {
            assert_eq!(settings.key_id, KEY_ID);
            settings.key_id = "OTHER".into();
        },
    );
    let reason = unavailable(pair.sign_in());
    assert!(reason.contains("invalid_client"), "{reason}");
}

#[test]
fn microsoft_compares_tenant_and_issuer() {
    let other = "11111111-2222-3333-4444-555555555555";
    for (claim, value) in [
        ("tid", json!(other)),
        ("tid", json!("common")),
        ("tid", Value::Null),
        ("iss", json!("https://login.microsoftonline.com/x/v2.0")),
    ] {
        let pair = Pair::new(ProviderKind::Microsoft);
        pair.provider
            .change(|it| drop(it.claims.insert(claim.to_owned(), value.clone())));
        let reason = refused(pair.sign_in());
        assert!(
            reason.contains("its issuer is"),
            "{claim} {value}: {reason}"
        );
    }
    // A key of another tenant signs nothing for this one.
    let pair = Pair::new(ProviderKind::Microsoft);
    let key_set = |tenant: &str| {
        let base = pair.provider.issuer().replace(TENANT, tenant);
        let mut set = pair.provider.key_set();
        set["keys"][0]["issuer"] = base.into();
        set
    };
    let set = key_set(other);
    pair.provider.change(|it| it.key_set = Some(set));
    let reason = refused(pair.sign_in());
    assert!(reason.contains("its issuer is"), "{reason}");
    pair.server.advance(Duration::from_hours(1));
    let set = key_set("{tenantid}");
    pair.provider.change(|it| it.key_set = Some(set));
    pair.sign_in().unwrap();
}

#[test]
fn google_names_its_issuer_with_or_without_a_scheme() {
    let pair = Pair::new(ProviderKind::Google);
    let issuer = pair.provider.issuer();
    let bare = issuer.strip_prefix("http://").unwrap().to_owned();
    pair.provider
        .change(|it| drop(it.claims.insert("iss".into(), bare.into())));
    assert_eq!(pair.sign_in().unwrap().issuer, issuer);
}

#[test]
fn id_tokens_that_are_not_right_are_refused() {
    let second = |seconds: i64| {
        json!(Timestamp::from_unix_millis(crate::support::START).unix_seconds() + seconds)
    };
    let cases: Vec<(&str, Value, &str)> = vec![
        ("iss", json!("https://evil.example"), "its issuer is"),
        ("iss", Value::Null, "its issuer is"),
        ("iss", json!(["x"]), "its issuer is"),
        ("aud", json!("somebody"), "its audience is"),
        ("aud", json!([]), "its audience is"),
        ("aud", json!([CLIENT_ID, "somebody"]), "its audience is"),
        ("aud", Value::Null, "its audience is"),
        ("azp", json!("somebody"), "its authorized party is"),
        ("azp", json!(7), "its authorized party is"),
        ("nonce", json!("another"), "its nonce"),
        ("nonce", json!(""), "its nonce"),
        ("nonce", Value::Null, "its nonce"),
        // The form in which apps send it does not count here.
        (
            "nonce",
            json!(data_encoding::HEXLOWER.encode(&Sha256::digest(NONCE))),
            "its nonce",
        ),
        ("exp", second(-60), "it has expired"),
        ("exp", Value::Null, "it has expired"),
        ("exp", json!("tomorrow"), "it has expired"),
        ("iat", second(61), "it was not issued just now"),
        ("iat", second(-61), "it was not issued just now"),
        ("iat", Value::Null, "it was not issued just now"),
        ("nbf", second(61), "it is not valid yet"),
        ("nbf", json!("soon"), "it is not valid yet"),
        ("sub", json!(""), "its subject is"),
        ("sub", json!(7), "its subject is"),
        ("sub", json!("x".repeat(256)), "its subject is"),
        ("sub", json!("b\u{fc}cher"), "its subject is"),
        ("sub", Value::Null, "its subject is"),
    ];
    let pair = Pair::new(ProviderKind::Oidc);
    for (claim, value, expected) in cases {
        pair.provider.change(|it| {
            it.claims.clear();
            it.claims.insert(claim.to_owned(), value.clone());
        });
        let reason = refused(pair.sign_in());
        assert!(reason.contains(expected), "{claim} {value}: {reason}");
    }
    // What is just within the tolerance of clocks is right.
    for (claim, value) in [
        ("exp", second(-59)),
        ("iat", second(60)),
        ("iat", second(-60)),
        ("nbf", second(60)),
        ("azp", json!(CLIENT_ID)),
        ("aud", json!([CLIENT_ID])),
    ] {
        pair.provider.change(|it| {
            it.claims.clear();
            it.claims.insert(claim.to_owned(), value.clone());
        });
        pair.sign_in().expect(claim);
    }
}

#[test]
fn algorithm_comes_from_the_settings() {
    for signature in [Signature::None, Signature::PublicKeyAsSecret] {
        let pair = Pair::with(ProviderKind::Oidc, |it| it.signature = signature, |_| {});
        let reason = refused(pair.sign_in());
        assert!(reason.contains("but id_token_alg is RS256"), "{reason}");
    }
    // A false header does not help: the right key is not one of HS256.
    for name in ["HS256", "none", "None", "ES256", ""] {
        let pair = Pair::new(ProviderKind::Oidc);
        pair.provider
            .change(|it| drop(it.header.insert("alg".into(), name.into())));
        let reason = refused(pair.sign_in());
        assert!(reason.contains("its algorithm is"), "{name}: {reason}");
    }
    let pair = Pair::with(ProviderKind::Oidc, |_| {}, |_| {});
    pair.provider.change(|it| {
        it.signature = Signature::PublicKeyAsSecret;
        it.header.insert("alg".into(), "RS256".into());
    });
    assert!(refused(pair.sign_in()).contains("its signature is wrong"));
    for algorithm in [IdTokenAlgorithm::Es256, IdTokenAlgorithm::EdDsa] {
        let pair = Pair::with(ProviderKind::Oidc, |it| it.algorithm = algorithm, |_| {});
        pair.sign_in().unwrap();
        for signature in [Signature::None, Signature::OtherClaims] {
            pair.provider.change(|it| it.signature = signature);
            refused(pair.sign_in());
        }
    }
    let pair = Pair::with(
        ProviderKind::Oidc,
        |it| it.algorithm = IdTokenAlgorithm::Es256,
        |settings| settings.id_token_alg = IdTokenAlgorithm::Rs256,
    );
    refused(pair.sign_in());
}

#[test]
fn forged_tokens_are_refused() {
    let pair = Pair::with(
        ProviderKind::Oidc,
        |it| it.algorithm = IdTokenAlgorithm::Es256,
        |_| {},
    );
    for signature in [Signature::OtherKey, Signature::OtherClaims] {
        pair.provider.change(|it| it.signature = signature);
        let reason = refused(pair.sign_in());
        assert!(reason.contains("its signature is wrong"), "{reason}");
    }
    pair.provider.change(|it| it.signature = Signature::Right);
    for (member, value, expected) in [
        ("typ", json!("at+jwt"), "so it is not an ID token"),
        ("typ", json!("logout+jwt"), "so it is not an ID token"),
        ("crit", json!(["exp"]), "its signature is wrong"),
        ("b64", json!(false), "its signature is wrong"),
        (
            "kid",
            json!("../../etc"),
            "is not in the provider's key set",
        ),
    ] {
        pair.provider.change(|it| {
            it.header.clear();
            it.header.insert(member.to_owned(), value.clone());
        });
        let reason = refused(pair.sign_in());
        assert!(reason.contains(expected), "{member}: {reason}");
    }
    // A key in the header is not used.
    let set = pair.provider.key_set();
    pair.provider.change(|it| {
        it.header.clear();
        it.header.insert("jwk".into(), set["keys"][0].clone());
        it.signature = Signature::OtherKey;
    });
    assert!(refused(pair.sign_in()).contains("its signature is wrong"));
}

#[test]
fn key_sets_that_are_not_right_give_nothing() {
    let pair = Pair::new(ProviderKind::Oidc);
    let right = pair.provider.key_set()["keys"][0].clone();
    let with = |changes: Value| {
        let mut key = right.clone();
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    };
    let without = |name: &str| {
        let mut key = right.clone();
        key.as_object_mut().unwrap().remove(name);
        key
    };
    let weak = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let foreign = with(json!({"kty": "EC", "crv": "P-256"}));
    let many: Vec<Value> = (0..101).map(|_| right.clone()).collect();
    let unusable: Vec<(&str, Value)> = vec![
        ("no list", json!({})),
        ("no list", json!({"keys": {}})),
        ("empty", json!({"keys": []})),
        ("of another type", json!({"keys": [foreign]})),
        (
            "for encryption",
            json!({"keys": [with(json!({"use": "enc"}))]}),
        ),
        (
            "for another algorithm",
            json!({"keys": [with(json!({"alg": "RS512"}))]}),
        ),
        (
            "for other operations",
            json!({"keys": [with(json!({"key_ops": ["encrypt"]}))]}),
        ),
        ("weak", json!({"keys": [with(json!({"n": weak}))]})),
        (
            "huge",
            json!({"keys": [with(json!({"n": "A".repeat(20_000)}))]}),
        ),
        (
            "exponent of one",
            json!({"keys": [with(json!({"e": "AQ"}))]}),
        ),
        ("even exponent", json!({"keys": [with(json!({"e": "Ag"}))]})),
        ("not base64", json!({"keys": [with(json!({"n": "%%%"}))]})),
        (
            "a secret",
            json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"}]}),
        ),
        ("texts", json!({"keys": ["key", 7, null]})),
        ("too many", json!({"keys": many})),
    ];
    for (what, set) in unusable {
        pair.provider.change(|it| it.key_set = Some(set.clone()));
        let reason = unavailable(pair.sign_in());
        assert!(
            reason.contains("has an unusable key set"),
            "{what}: {reason}"
        );
    }
    // What does not fit is left out.
    let mixed = json!({"keys": [7, with(json!({"use": "enc"})), with(json!({"n": weak})), right]});
    pair.provider.change(|it| it.key_set = Some(mixed));
    pair.sign_in().unwrap();
    // A key without an id is used for no token that names one, and an only key for one that does not.
    pair.server.advance(Duration::from_hours(1));
    pair.provider
        .change(|it| it.key_set = Some(json!({"keys": [without("kid")]})));
    assert!(refused(pair.sign_in()).contains("is not in the provider's key set"));
    pair.provider
        .change(|it| drop(it.header.insert("kid".into(), Value::Null)));
    pair.sign_in().unwrap();
    pair.server.advance(Duration::from_hours(1));
    pair.provider.change(|it| {
        let other = with(json!({"kid": "other"}));
        it.key_set = Some(json!({"keys": [right.clone(), other]}));
    });
    assert!(refused(pair.sign_in()).contains("it names no key"));
    // Of two keys with the id of the token, one has to fit.
    pair.server.advance(Duration::from_hours(1));
    let mut modulus = URL_SAFE_NO_PAD
        .decode(right["n"].as_str().unwrap())
        .unwrap();
    modulus[100] ^= 1;
    let other = with(json!({"n": URL_SAFE_NO_PAD.encode(modulus)}));
    pair.provider.change(|it| {
        it.header.clear();
        it.key_set = Some(json!({"keys": [other, right.clone()]}));
    });
    pair.sign_in().unwrap();
}

#[test]
fn metadata_of_others_are_not_used() {
    for (member, value, expected) in [
        (
            "issuer",
            json!("https://evil.example"),
            "names the issuer \"https://evil.example\"",
        ),
        ("issuer", Value::Null, "missing field `issuer`"),
        (
            "token_endpoint",
            Value::Null,
            "missing field `token_endpoint`",
        ),
        (
            "token_endpoint",
            json!("javascript:alert(1)"),
            "has a wrong token_endpoint",
        ),
        ("jwks_uri", json!("/jwks"), "has a wrong jwks_uri"),
        (
            "authorization_endpoint",
            json!("file:///etc/passwd"),
            "has a wrong authorization_endpoint",
        ),
        ("authorization_endpoint", json!(7), "has unusable JSON"),
    ] {
        let pair = Pair::new(ProviderKind::Oidc);
        pair.provider
            .change(|it| drop(it.document.insert(member.to_owned(), value.clone())));
        let reason = unavailable(pair.url());
        assert!(reason.contains(expected), "{member}: {reason}");
    }
    // Endpoints lead into no network that is not allowed.
    let pair = Pair::new(ProviderKind::Oidc);
    pair.provider.change(|it| {
        drop(
            it.document
                .insert("jwks_uri".into(), json!("http://10.0.0.1/jwks")),
        );
    });
    let reason = unavailable(pair.sign_in());
    assert!(reason.contains("private (RFC 1918)"), "{reason}");
}

#[test]
fn providers_that_do_not_answer_right_are_unavailable() {
    let to_another = FakeProvider::start(ProviderKind::Oidc);
    let elsewhere = format!("{}/.well-known/openid-configuration", to_another.issuer());
    for (fault, expected) in [
        (Fault::Answer("500 Oops", "{}".into()), "it answers 500"),
        (
            Fault::Answer("404 Not Found", "{}".into()),
            "it answers 404",
        ),
        (
            Fault::Answer("200 OK", "<html>".into()),
            "has unusable JSON",
        ),
        (Fault::Answer("200 OK", "[]".into()), "has unusable JSON"),
        (Fault::Redirect(elsewhere), "it answers 302"),
        (Fault::Huge, "its answer is too long"),
        (Fault::Close, "closed the connection"),
    ] {
        let pair = Pair::new(ProviderKind::Oidc);
        pair.provider
            .change(|it| drop(it.faults.insert(Endpoint::Discovery, fault.clone())));
        let reason = unavailable(pair.url());
        assert!(reason.contains(expected), "{fault:?}: {reason}");
        // It works again as soon as the provider does.
        pair.provider.change(|it| it.faults.clear());
        pair.sign_in().unwrap();
    }
    assert_eq!(to_another.received().len(), 0, "redirects are not followed");
    for endpoint in [Endpoint::Keys, Endpoint::Token] {
        for fault in [
            Fault::Answer("503 Busy", String::new()),
            Fault::Close,
            Fault::Huge,
        ] {
            let pair = Pair::new(ProviderKind::Oidc);
            pair.provider
                .change(|it| drop(it.faults.insert(endpoint, fault)));
            unavailable(pair.sign_in());
            let failed = "accounts_provider_requests_total{kind=\"oidc\",outcome=\"failed\"}";
            assert!(pair.server.metric(failed) > 0);
        }
    }
}

#[test]
fn provider_that_hangs_holds_nobody_up_for_long() {
    let pair = Pair::new(ProviderKind::Oidc);
    pair.provider
        .change(|it| drop(it.faults.insert(Endpoint::Discovery, Fault::Hang)));
    // All of them wait for one request, and fail with it.
    let failures = pair.server.run(async |app| {
        let request = AuthorizationRequest {
            redirect_uri: REDIRECT_URI,
            state: "a-state",
            nonce: NONCE,
            code_challenge: "a-challenge",
            locale: None,
            force_login: false,
        };
        let provider = app.providers.get(ID).unwrap();
        let requests = (0..20).map(|_| provider.authorization_url(&request));
        futures_util::future::join_all(requests).await
    });
    for failure in failures {
        let reason = unavailable(failure);
        assert!(reason.contains("no answer within 5s"), "{reason}");
    }
    assert_eq!(pair.provider.received().len(), 1);
}

#[test]
fn codes_are_bound_to_their_request() {
    let pair = Pair::new(ProviderKind::Oidc);
    let wrong = |change: fn(&mut AuthorizationAnswer<'_>)| {
        let authorized = pair.provider.authorize(&pair.url().unwrap());
        let mut answer = answer(&authorized);
        change(&mut answer);
        refused(pair.exchange(&answer))
    };
    let reason = wrong(|answer| answer.code_verifier = "another");
    assert!(reason.contains("invalid_grant"), "{reason}");
    wrong(|answer| answer.redirect_uri = "http://localhost:8000/elsewhere/");
    wrong(|answer| answer.code = "another");
    let reason = wrong(|answer| answer.nonce = "another");
    assert!(reason.contains("its nonce"), "{reason}");
    // Mix-up (RFC 9207): the answer is that of another provider.
    let reason = wrong(|answer| answer.iss = Some("https://evil.example"));
    assert!(reason.contains("names another issuer"), "{reason}");
    let pair = Pair::with(ProviderKind::Oidc, |it| it.names_issuer = true, |_| {});
    pair.sign_in().unwrap();
    let authorized = pair.provider.authorize(&pair.url().unwrap());
    let mut answer = answer(&authorized);
    answer.iss = None;
    let reason = refused(pair.exchange(&answer));
    assert!(reason.contains("or none where it has to"), "{reason}");
}

#[test]
fn answers_with_an_error_are_denials_refusals_or_faults() {
    let pair = Pair::new(ProviderKind::Oidc);
    let outcome = |error: &str| {
        pair.server.run(async |app| {
            let provider = app.providers.get(ID).unwrap();
            provider.callback_error(error, Some("because\r\nof that"))
        })
    };
    for error in [
        "access_denied",
        "user_cancelled_authorize",
        "consent_required",
    ] {
        assert_eq!(outcome(error), ProviderError::Denied);
    }
    let reason = refused::<()>(Err(outcome("whatever")));
    assert!(!reason.contains('\n'), "{reason}");
    unavailable::<()>(Err(outcome("temporarily_unavailable")));
}

#[test]
fn secrets_go_where_the_metadata_say() {
    let sent = |pair: &Pair| {
        let received = pair.provider.received();
        let request = received
            .iter()
            .find(|it| it.head.starts_with("POST /token"));
        let request = request.unwrap().clone();
        let body = String::from_utf8(request.body.clone()).unwrap();
        (request.header("authorization").is_some(), body)
    };
    let pair = Pair::new(ProviderKind::Oidc);
    pair.sign_in().unwrap();
    let (is_basic, body) = sent(&pair);
    assert!(is_basic && !body.contains("client_secret"), "{body}");
    let pair = Pair::with(
        ProviderKind::Oidc,
        |it| it.wants_secret_in_body = true,
        |_| {},
    );
    pair.sign_in().unwrap();
    let (is_basic, body) = sent(&pair);
    assert!(!is_basic && body.contains("client_secret="), "{body}");
    // A public client has none.
    let pair = Pair::with(
        ProviderKind::Oidc,
        |_| {},
        |settings| {
            settings.client_secret = Secret::default();
        },
    );
    unavailable(pair.sign_in());
    let (is_basic, body) = sent(&pair);
    assert!(!is_basic && body.contains("client_id=accounts"), "{body}");
    assert!(!body.contains("client_secret"), "{body}");
}

#[test]
fn userinfo_adds_what_the_id_token_lacks() {
    let trust = |settings: &mut FileProvider| settings.trust_email = true;
    let pair = Pair::with(ProviderKind::Oidc, |it| it.has_userinfo = true, trust);
    let user = pair.sign_in().unwrap();
    assert_eq!(user.email.as_deref(), Some("ada@example.com"));
    assert!(user.is_email_trusted);
    assert_eq!(user.name.as_deref(), Some("Ada Lovelace"));
    // It must not speak of anybody else.
    for subject in [json!("somebody"), Value::Null, json!(248_289_761_001_u64)] {
        pair.provider
            .change(|it| drop(it.userinfo.insert("sub".into(), subject)));
        let reason = refused(pair.sign_in());
        assert!(reason.contains("another user"), "{reason}");
    }
    pair.provider
        .change(|it| drop(it.faults.insert(Endpoint::Userinfo, Fault::Close)));
    unavailable(pair.sign_in());
}

#[test]
fn apps_bring_id_tokens_of_their_own() {
    let app = "com.example.app";
    let audiences = |settings: &mut FileProvider| settings.audiences = vec![app.to_owned()];
    let pair = Pair::with(ProviderKind::Apple, |_| {}, audiences);
    let hashed = data_encoding::HEXLOWER.encode(&Sha256::digest(NONCE));
    for in_token in [NONCE, &hashed] {
        let token = pair.provider.id_token(app, in_token);
        let (user, token_use) = pair.verify(&token, NONCE).unwrap();
        assert_eq!(user.subject, "248289761001");
        assert!(user.is_email_trusted);
        let message = token.rsplit_once('.').unwrap().0;
        assert_eq!(token_use.hash[..], Sha256::digest(message)[..]);
        let age = token_use.expires_at.unix_millis() - crate::support::START;
        assert!(age > 300_000, "it is remembered longer than it counts");
        // An app that knows the hash alone did not make the request.
        refused(pair.verify(&token, "another"));
        refused(pair.verify(&token, ""));
        if in_token == hashed {
            refused(pair.verify(
                &token,
                &data_encoding::HEXUPPER.encode(&Sha256::digest(NONCE)),
            ));
        }
    }
    let reason = refused(pair.verify(&pair.provider.id_token(CLIENT_ID, NONCE), NONCE));
    assert!(reason.contains("its audience is"), "{reason}");
    for text in ["", "x", "a.b", "a.b.c.d", "e30.e30.", &"x".repeat(20_000)] {
        refused(pair.verify(text, NONCE));
    }
    // It counts for five minutes.
    let token = pair.provider.id_token(app, NONCE);
    pair.server.advance(Duration::from_mins(5));
    pair.verify(&token, NONCE).unwrap();
    pair.server.advance(Duration::from_secs(1));
    let reason = refused(pair.verify(&token, NONCE));
    assert!(reason.contains("it was not issued just now"), "{reason}");
    // Without audiences there are none.
    let pair = Pair::new(ProviderKind::Google);
    let reason = refused(pair.verify(&pair.provider.id_token(CLIENT_ID, NONCE), NONCE));
    assert!(reason.contains("no audiences"), "{reason}");
    assert_eq!(pair.provider.received().len(), 0);
}

#[test]
fn android_apps_name_two_clients() {
    let pair = Pair::with(
        ProviderKind::Google,
        |_| {},
        |settings| {
            settings.audiences = vec!["web".to_owned(), "android".to_owned()];
        },
    );
    for (party, is_right) in [("android", true), ("somebody", false)] {
        pair.provider
            .change(|it| drop(it.claims.insert("azp".into(), party.into())));
        let token = pair.provider.id_token("web", NONCE);
        assert_eq!(pair.verify(&token, NONCE).is_ok(), is_right, "{party}");
    }
}

#[test]
fn providers_are_read_again_at_a_reload() {
    let pair = Pair::new(ProviderKind::Oidc);
    pair.sign_in().unwrap();
    let another = FakeProvider::start(ProviderKind::Github);
    let settings = another.settings("hub");
    pair.server
        .reload(|config| config.social_providers = vec![settings])
        .unwrap();
    let names = pair.server.run(async |app| {
        assert!(app.providers.get(ID).is_none());
        let list = app.providers.list().iter();
        list.map(|it| (it.id().to_owned(), it.name().to_owned()))
            .collect::<Vec<_>>()
    });
    assert_eq!(names, [("hub".to_owned(), "GitHub".to_owned())]);
    // A file that is missing changes nothing.
    let mut settings = another.settings("hub");
    settings.client_secret_file = Some("/nowhere".into());
    let error = pair
        .server
        .reload(|config| config.social_providers = vec![settings])
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("[[social.providers]] \"hub\": client_secret_file"),
        "{text}"
    );
    assert!(!text.contains(CLIENT_SECRET), "{text}");
}
