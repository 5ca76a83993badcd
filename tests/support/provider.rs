//! An external identity provider for tests: the endpoints of OpenID Connect or GitHub, with the quirks
//! of the well-known ones and, where a test asks for it, the faults of a hostile one.
//!
//! A test starts one of a kind, gives [`FakeProvider::settings`] to the server, plays the browser with
//! [`FakeProvider::authorize`], and changes what is answered with [`FakeProvider::change`].

#![allow(
    dead_code,
    reason = "each of the test programs that share this needs a part of it"
)]

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard};

use accounts_server::clock::{SharedClock, SystemClock};
use accounts_server::config::{FileProvider, Secret};
use accounts_server::domain::{IdTokenAlgorithm, ProviderKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::receiver::{Exchange, Received, Receiver};

/// What this server is called at the provider.
pub const CLIENT_ID: &str = "accounts";

/// Its secret, with characters that have to be encoded.
pub const CLIENT_SECRET: &str = "s3cret+/ %:";

/// Team and key of an Apple developer.
pub const TEAM_ID: &str = "TEAM567890";
pub const KEY_ID: &str = "KEY4567890";

/// A tenant of Microsoft.
pub const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// A key for RS256, as `ring` makes none. It protects nothing.
const RSA_KEY: &str = include_str!("rsa-key.txt");

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Discovery,
    Keys,
    Token,
    Userinfo,
    /// `/user` of GitHub.
    User,
    /// `/user/emails` of GitHub.
    Emails,
}

/// What an endpoint does instead of its work.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers with a status and a text.
    Answer(&'static str, String),
    /// Leads to another URL.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Sends more than anybody wants to read.
    Huge,
    /// Closes the connection.
    Close,
}

/// How ID tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// With the key that the key set shows.
    Right,
    /// Not at all, with `alg: none`.
    None,
    /// With the public key as the secret of HS256.
    PublicKeyAsSecret,
    /// With another key of the same id.
    OtherKey,
    /// With the right key, but over other claims.
    OtherClaims,
}

/// What the provider does. A test changes the fields that it is about.
pub struct Behaviour {
    /// The account that signs in.
    pub subject: String,
    /// Claims of the account: `email`, `email_verified`, `name` and others. For GitHub these are the
    /// members of `/user`.
    pub account: Map<String, Value>,
    /// The addresses of `/user/emails`.
    pub emails: Value,
    /// Members that are put over those of the metadata; `null` removes one.
    pub document: Map<String, Value>,
    /// Claims that are put over those of ID tokens; `null` removes one.
    pub claims: Map<String, Value>,
    /// Members that are put over those of the header of ID tokens; `null` removes one.
    pub header: Map<String, Value>,
    /// How ID tokens are signed.
    pub signature: Signature,
    /// The algorithm of the ID tokens.
    pub algorithm: IdTokenAlgorithm,
    /// The key set, in place of the right one.
    pub key_set: Option<Value>,
    /// The id of the current key.
    pub key_id: String,
    /// Faults of endpoints.
    pub faults: HashMap<Endpoint, Fault>,
    /// Whether address and name are at the userinfo endpoint alone.
    pub has_userinfo: bool,
    /// Members that are put over the answer of the userinfo endpoint.
    pub userinfo: Map<String, Value>,
    /// Whether answers name the issuer (RFC 9207).
    pub names_issuer: bool,
    /// Whether the token endpoint takes the secret in the body alone.
    pub wants_secret_in_body: bool,
}

/// What came to the authorization endpoint and what belongs to its code.
#[derive(Clone)]
struct Grant {
    fields: HashMap<String, String>,
}

struct Shared {
    kind: ProviderKind,
    base: Mutex<String>,
    behaviour: Mutex<Behaviour>,
    grants: Mutex<HashMap<String, Grant>>,
    clock: Mutex<SharedClock>,
    keys: Keys,
    apple_key: rcgen::KeyPair,
}

struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    other_ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

/// What the browser brings back.
#[derive(Clone, Debug)]
pub struct Authorized {
    /// Where it is sent.
    pub redirect_uri: String,
    /// The fields of the query, or of the form.
    pub fields: Vec<(String, String)>,
}

impl Authorized {
    /// A field; empty without it.
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The fields as a query or the body of a form.
    pub fn form(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.fields)
            .finish()
    }

    /// The URL that the browser requests.
    pub fn url(&self) -> String {
        format!("{}?{}", self.redirect_uri, self.form())
    }
}

/// A provider on a free loopback port.
pub struct FakeProvider {
    receiver: Receiver,
    shared: Arc<Shared>,
    dir: TempDir,
}

impl FakeProvider {
    /// A provider of a kind, whose account has a verified address.
    pub fn start(kind: ProviderKind) -> Self {
        let random = SystemRandom::new();
        let ec = || {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
        };
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let rsa = STANDARD.decode(RSA_KEY.replace(['\r', '\n'], "")).unwrap();
        let shared = Arc::new(Shared {
            kind,
            base: Mutex::default(),
            behaviour: Mutex::new(Behaviour::of(kind)),
            grants: Mutex::default(),
            clock: Mutex::new(Arc::new(SystemClock)),
            keys: Keys {
                rsa: RsaKeyPair::from_pkcs8(&rsa).unwrap(),
                ec: ec(),
                other_ec: ec(),
                ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            },
            apple_key: rcgen::KeyPair::generate().unwrap(),
        });
        let serving = Arc::clone(&shared);
        let receiver = Receiver::start(move |exchange| serving.serve(exchange));
        *shared.base.lock().unwrap() = receiver.url("");
        Self {
            receiver,
            shared,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The issuer, or the base URL of GitHub.
    pub fn issuer(&self) -> String {
        self.shared.issuer()
    }

    /// The settings of a server for this provider.
    pub fn settings(&self, id: &str) -> FileProvider {
        let kind = self.shared.kind;
        let mut settings = FileProvider::new(id, kind, CLIENT_ID);
        settings.issuer = self.issuer();
        settings.id_token_alg = self.behaviour().algorithm;
        match kind {
            ProviderKind::Apple => {
                let path = self.dir.path().join("AuthKey.p8");
                fs::write(&path, self.shared.apple_key.serialize_pem()).unwrap();
                TEAM_ID.clone_into(&mut settings.team_id);
                KEY_ID.clone_into(&mut settings.key_id);
                settings.private_key_file = Some(path);
            }
            _ => settings.client_secret = Secret::new(CLIENT_SECRET.to_owned()),
        }
        if kind == ProviderKind::Microsoft {
            settings.issuer = format!("{}/common/v2.0", self.base());
        }
        if kind == ProviderKind::Oidc {
            "Company".clone_into(&mut settings.name);
        }
        settings
    }

    /// Changes what the provider does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour());
    }

    /// Uses the clock of a server for the times of tokens.
    pub fn use_clock(&self, clock: SharedClock) {
        *self.shared.clock.lock().unwrap() = clock;
    }

    /// Lets the user sign in at the URL that the server has made, and returns what the browser brings
    /// back.
    #[track_caller]
    pub fn authorize(&self, url: &str) -> Authorized {
        let fields = self.request_of(url);
        let behaviour = self.behaviour();
        let code = unique("code");
        let mut answer = vec![
            ("code".to_owned(), code.clone()),
            ("state".to_owned(), fields["state"].clone()),
        ];
        if behaviour.names_issuer {
            answer.push(("iss".to_owned(), self.issuer()));
        }
        if self.shared.kind == ProviderKind::Apple {
            assert_eq!(fields["response_mode"], "form_post");
            let name = json!({"name": {"firstName": "Ada", "lastName": "Lovelace"}});
            answer.push(("user".to_owned(), name.to_string()));
        }
        let redirect_uri = fields["redirect_uri"].clone();
        let mut grants = self.shared.grants.lock().unwrap();
        grants.insert(code, Grant { fields });
        Authorized {
            redirect_uri,
            fields: answer,
        }
    }

    /// Lets the user refuse.
    #[track_caller]
    pub fn deny(&self, url: &str) -> Authorized {
        let fields = self.request_of(url);
        Authorized {
            redirect_uri: fields["redirect_uri"].clone(),
            fields: vec![
                ("error".to_owned(), "access_denied".to_owned()),
                ("state".to_owned(), fields["state"].clone()),
            ],
        }
    }

    /// The parameters of the URL to which a browser is sent.
    #[track_caller]
    pub fn request_of(&self, url: &str) -> HashMap<String, String> {
        let (endpoint, query) = url.split_once('?').unwrap();
        assert_eq!(endpoint, self.shared.authorization_endpoint());
        let fields: HashMap<String, String> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        assert_eq!(fields["response_type"], "code");
        assert_eq!(fields["client_id"], CLIENT_ID);
        assert_eq!(fields["code_challenge_method"], "S256");
        fields
    }

    /// An ID token as the provider's own library gives it to an app.
    pub fn id_token(&self, audience: &str, nonce: &str) -> String {
        self.shared.id_token(&self.behaviour(), audience, nonce)
    }

    /// The right key set, for tests that change it.
    pub fn key_set(&self) -> Value {
        json!({"keys": [self.shared.public_key(&self.behaviour())]})
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.receiver.received()
    }

    /// How many requests have come to a path so far.
    pub fn count(&self, path: &str) -> usize {
        let received = self.receiver.received();
        let paths = received.iter().map(|request| path_of(&request.head));
        paths.filter(|found| *found == path).count()
    }

    fn base(&self) -> String {
        self.shared.base.lock().unwrap().clone()
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.shared.behaviour.lock().unwrap()
    }
}

impl Behaviour {
    fn of(kind: ProviderKind) -> Self {
        let object = |value: Value| value.as_object().unwrap().clone();
        let email = "ada@example.com";
        let account = match kind {
            ProviderKind::Google | ProviderKind::Oidc => json!({
                "email": email, "email_verified": true, "name": "Ada Lovelace",
                "given_name": "Ada", "family_name": "Lovelace",
            }),
            // Booleans are texts, and the name is in the form alone.
            ProviderKind::Apple => json!({
                "email": email, "email_verified": "true", "is_private_email": "false",
            }),
            ProviderKind::Microsoft => json!({
                "email": email, "xms_edov": true, "name": "Ada Lovelace", "tid": TENANT,
            }),
            ProviderKind::Github => json!({"login": "ada", "name": "Ada Lovelace"}),
        };
        Self {
            subject: match kind {
                ProviderKind::Github => "583231".to_owned(),
                _ => "248289761001".to_owned(),
            },
            account: object(account),
            emails: json!([
                {"email": "old@example.com", "primary": false, "verified": true, "visibility": null},
                {"email": email, "primary": true, "verified": true, "visibility": "private"},
            ]),
            document: Map::new(),
            claims: Map::new(),
            header: Map::new(),
            signature: Signature::Right,
            algorithm: IdTokenAlgorithm::Rs256,
            key_set: None,
            key_id: "key-1".to_owned(),
            faults: HashMap::new(),
            has_userinfo: false,
            userinfo: Map::new(),
            names_issuer: false,
            wants_secret_in_body: false,
        }
    }
}

/// Puts members over others; `null` removes one.
fn put_over(object: &mut Value, changes: &Map<String, Value>) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in changes {
        match value {
            Value::Null => drop(object.remove(name)),
            value => drop(object.insert(name.clone(), value.clone())),
        }
    }
}

/// A text that no other call returns.
fn unique(start: &str) -> String {
    let random: [u8; 16] = ring::rand::generate(&SystemRandom::new()).unwrap().expose();
    format!("{start}-{}", URL_SAFE_NO_PAD.encode(random))
}

fn path_of(head: &str) -> &str {
    let target = head.split(' ').nth(1).unwrap();
    target.split('?').next().unwrap()
}

impl Shared {
    fn base(&self) -> String {
        self.base.lock().unwrap().clone()
    }

    fn issuer(&self) -> String {
        match self.kind {
            ProviderKind::Microsoft => format!("{}/{TENANT}/v2.0", self.base()),
            _ => self.base(),
        }
    }

    fn authorization_endpoint(&self) -> String {
        match self.kind {
            ProviderKind::Github => format!("{}/login/oauth/authorize", self.base()),
            _ => format!("{}/authorize", self.base()),
        }
    }

    fn serve(&self, exchange: &mut Exchange<'_>) {
        let endpoint = match path_of(&exchange.received.head) {
            "/.well-known/openid-configuration"
            | "/common/v2.0/.well-known/openid-configuration" => Endpoint::Discovery,
            "/jwks" => Endpoint::Keys,
            "/token" | "/login/oauth/access_token" => Endpoint::Token,
            "/userinfo" => Endpoint::Userinfo,
            "/api/v3/user" => Endpoint::User,
            "/api/v3/user/emails" => Endpoint::Emails,
            _ => return exchange.answer("404 Not Found", "{\"message\":\"Not Found\"}"),
        };
        let fault = self
            .behaviour
            .lock()
            .unwrap()
            .faults
            .get(&endpoint)
            .cloned();
        let (status, body) = match fault {
            Some(Fault::Answer(status, body)) => return exchange.answer(status, &body),
            Some(Fault::Redirect(url)) => {
                exchange.write(format!(
                    "HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"
                ));
                return;
            }
            Some(Fault::Hang) => return exchange.hang(),
            Some(Fault::Huge) => return exchange.answer("200 OK", &" ".repeat(70_000)),
            Some(Fault::Close) => return exchange.close(),
            None => self.answer(endpoint, exchange.received),
        };
        exchange.answer(status, &body.to_string());
    }

    fn answer(&self, endpoint: Endpoint, request: &Received) -> (&'static str, Value) {
        let behaviour = self.behaviour.lock().unwrap();
        let ok = |body: Value| ("200 OK", body);
        match endpoint {
            Endpoint::Discovery => ok(self.document(&behaviour)),
            Endpoint::Keys => ok(self.key_set(&behaviour)),
            Endpoint::Token => self.token(&behaviour, request),
            _ if request.header("authorization") != Some("Bearer access") => {
                ("401 Unauthorized", json!({"message": "Bad credentials"}))
            }
            Endpoint::Userinfo => {
                let mut claims = Value::Object(behaviour.account.clone());
                claims["sub"] = behaviour.subject.clone().into();
                put_over(&mut claims, &behaviour.userinfo);
                ok(claims)
            }
            Endpoint::User => {
                let mut account = Value::Object(behaviour.account.clone());
                account["id"] = behaviour.subject.parse::<u64>().unwrap().into();
                ok(account)
            }
            Endpoint::Emails => ok(behaviour.emails.clone()),
        }
    }

    fn document(&self, behaviour: &Behaviour) -> Value {
        let base = self.base();
        let issuer = match self.kind {
            ProviderKind::Microsoft => format!("{base}/{{tenantid}}/v2.0"),
            _ => base.clone(),
        };
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": self.authorization_endpoint(),
            "token_endpoint": format!("{base}/token"),
            "jwks_uri": format!("{base}/jwks"),
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": [behaviour.algorithm.as_str()],
        });
        if behaviour.has_userinfo {
            document["userinfo_endpoint"] = format!("{base}/userinfo").into();
        }
        if behaviour.names_issuer {
            document["authorization_response_iss_parameter_supported"] = true.into();
        }
        if behaviour.wants_secret_in_body {
            document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        }
        put_over(&mut document, &behaviour.document);
        document
    }

    /// The right public key, as a JSON Web Key.
    fn public_key(&self, behaviour: &Behaviour) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match behaviour.algorithm {
            IdTokenAlgorithm::Rs256 => {
                let public: PublicKeyComponents<Vec<u8>> = self.keys.rsa.public().into();
                json!({"kty": "RSA", "n": encode(&public.n), "e": encode(&public.e)})
            }
            IdTokenAlgorithm::Es256 => {
                let point = self.keys.ec.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            IdTokenAlgorithm::EdDsa => {
                let x = encode(self.keys.ed.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
            other => panic!("no key for {other}"),
        };
        key["kid"] = behaviour.key_id.clone().into();
        key["use"] = "sig".into();
        key["alg"] = behaviour.algorithm.as_str().into();
        key
    }

    fn key_set(&self, behaviour: &Behaviour) -> Value {
        let right = || json!({"keys": [self.public_key(behaviour)]});
        behaviour.key_set.clone().unwrap_or_else(right)
    }

    fn token(&self, behaviour: &Behaviour, request: &Received) -> (&'static str, Value) {
        // GitHub answers errors with 200.
        let refused = match self.kind {
            ProviderKind::Github => "200 OK",
            _ => "400 Bad Request",
        };
        let fields: HashMap<String, String> =
            form_urlencoded::parse(&request.body).into_owned().collect();
        if !self.is_client(behaviour, request, &fields) {
            let error = match self.kind {
                ProviderKind::Github => "incorrect_client_credentials",
                _ => "invalid_client",
            };
            return (refused, json!({"error": error}));
        }
        let invalid = match self.kind {
            ProviderKind::Github => "bad_verification_code",
            _ => "invalid_grant",
        };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        // Each code counts once.
        let grant = self.grants.lock().unwrap().remove(field("code"));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier").as_bytes()));
        let grant = grant.filter(|grant| {
            grant.fields["redirect_uri"] == field("redirect_uri")
                && grant.fields["code_challenge"] == challenge
        });
        let Some(grant) = grant else {
            let error = json!({"error": invalid, "error_description": "The code is not right."});
            return (refused, error);
        };
        let mut answer = json!({"access_token": "access", "token_type": "Bearer"});
        if self.kind != ProviderKind::Github {
            let nonce = grant.fields.get("nonce").map_or("", String::as_str);
            answer["id_token"] = self.id_token(behaviour, CLIENT_ID, nonce).into();
        }
        ("200 OK", answer)
    }

    /// Whether the request is one of the registered client.
    fn is_client(
        &self,
        behaviour: &Behaviour,
        request: &Received,
        fields: &HashMap<String, String>,
    ) -> bool {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        match self.kind {
            ProviderKind::Apple => {
                field("client_id") == CLIENT_ID && self.is_assertion(field("client_secret"))
            }
            ProviderKind::Oidc if !behaviour.wants_secret_in_body => {
                let pair = format!("{CLIENT_ID}:{}", encode(CLIENT_SECRET));
                let expected = format!("Basic {}", STANDARD.encode(pair));
                request.header("authorization") == Some(&expected)
            }
            _ => field("client_id") == CLIENT_ID && field("client_secret") == CLIENT_SECRET,
        }
    }

    /// Whether a client secret is what Apple wants.
    fn is_assertion(&self, token: &str) -> bool {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = &*parts else {
            return false;
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
        let (named, claims) = (json(header), json(payload));
        let public = UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_FIXED,
            self.apple_key.public_key_raw().to_vec(),
        );
        let message = format!("{header}.{payload}");
        let now = self.now();
        public
            .verify(message.as_bytes(), &decode(signature))
            .is_ok()
            && (&named["alg"], &named["kid"]) == (&json!("ES256"), &json!(KEY_ID))
            && (&claims["iss"], &claims["sub"]) == (&json!(TEAM_ID), &json!(CLIENT_ID))
            && claims["aud"] == self.base()
            && claims["iat"].as_i64().unwrap() <= now
            && (now..now + 3600).contains(&claims["exp"].as_i64().unwrap())
    }

    fn now(&self) -> i64 {
        self.clock.lock().unwrap().now().unix_seconds()
    }

    fn id_token(&self, behaviour: &Behaviour, audience: &str, nonce: &str) -> String {
        let now = self.now();
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": behaviour.subject,
            "aud": audience,
            "nonce": nonce,
            "iat": now,
            "exp": now + 600,
            "auth_time": now,
        });
        if !behaviour.has_userinfo {
            put_over(&mut claims, &behaviour.account);
        }
        put_over(&mut claims, &behaviour.claims);
        let algorithm = match behaviour.signature {
            Signature::None => "none",
            Signature::PublicKeyAsSecret => "HS256",
            _ => behaviour.algorithm.as_str(),
        };
        let mut header = json!({"typ": "JWT", "alg": algorithm, "kid": behaviour.key_id});
        put_over(&mut header, &behaviour.header);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.sign(behaviour, message.as_bytes());
        let message = match behaviour.signature {
            Signature::OtherClaims => {
                claims["sub"] = "somebody-else".into();
                format!("{}.{}", encode(&header), encode(&claims))
            }
            _ => message,
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, behaviour: &Behaviour, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let keys = &self.keys;
        match (behaviour.signature, behaviour.algorithm) {
            (Signature::None, _) => Vec::new(),
            (Signature::PublicKeyAsSecret, _) => {
                // Of the bytes of a key, the modulus is what a library could mistake for a secret.
                let public: PublicKeyComponents<Vec<u8>> = keys.rsa.public().into();
                let mut mac = Hmac::<Sha256>::new_from_slice(&public.n).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
            (_, IdTokenAlgorithm::Rs256) if behaviour.signature != Signature::OtherKey => {
                let mut signature = vec![0; keys.rsa.public().modulus_len()];
                keys.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            (_, IdTokenAlgorithm::EdDsa) => keys.ed.sign(message).as_ref().to_vec(),
            (Signature::OtherKey, _) => keys
                .other_ec
                .sign(&random, message)
                .unwrap()
                .as_ref()
                .to_vec(),
            _ => keys.ec.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }
}
