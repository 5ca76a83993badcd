//! Passkeys: adding, listing and removing them, signing in with one, and as a second factor.

use accounts_server::config::PublicUrl;
use ring::digest;
use serde_json::{Value, json};

use crate::contract::{BAD_TOKEN, DEAD_TOKEN, NO_TOKEN, NOT_FOUND, UNKNOWN_CREDENTIALS};
use crate::device::{
    Authenticator, BACKED_UP, Claims, HAS_CREDENTIAL, HAS_EXTENSIONS, Key, PRESENT, VERIFIED, cbor,
    encode,
};
use crate::factors::{enroll, refreshed, ticket};
use crate::support::{Answer, PASSWORD, TestServer, User, at_once, claims};

const EMAIL: &str = "user@example.com";
const ORIGIN: &str = "http://localhost:8000";
const INVALID: &str = r#"{"credential":["Invalid credential."]}"#;
const REQUIRED: &str = r#"{"credential":["This field is required."]}"#;
const RECENT: &str = r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["recovery_code","webauthn"]}"#;
const LAST_WAY_IN: &str =
    r#"{"detail":"This is the only way to sign in. Set a password or add a passkey first."}"#;

/// What is wrong with an answer, and what makes it so.
type Case = (&'static str, Box<dyn Fn(&mut Claims)>);

fn api(server: &TestServer, user: &User, method: &str, path: &str, body: &Value) -> Answer {
    server.api(method, path, Some(&user.access), body)
}

#[track_caller]
fn begin(server: &TestServer, user: &User) -> Value {
    let answer = api(server, user, "POST", "passkeys/register/begin/", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn complete(server: &TestServer, user: &User, credential: &Value, name: &str) -> Answer {
    let body = json!({"credential": credential, "name": name});
    api(server, user, "POST", "passkeys/register/complete/", &body)
}

/// Adds a passkey. The user's tokens are those of a refresh afterwards, which know of the factor.
#[track_caller]
fn add(server: &TestServer, user: &mut User, device: &mut Authenticator) -> Value {
    let credential = device.create(&begin(server, user));
    let added = complete(server, user, &credential, "Phone");
    assert_eq!(added.status, 201, "{}", added.body);
    *user = refreshed(server, user);
    added.json()
}

#[track_caller]
fn begin_sign_in(server: &TestServer) -> Value {
    let answer = server.post("passkeys/login/begin/", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn complete_sign_in(server: &TestServer, options: &Value, credential: &Value) -> Answer {
    let body = json!({"credential": credential, "session_id": options["session_id"]});
    server.post("passkeys/login/complete/", &body)
}

fn sign_in(server: &TestServer, device: &mut Authenticator) -> Answer {
    let options = begin_sign_in(server);
    let credential = device.get(&options);
    complete_sign_in(server, &options, &credential)
}

fn reauthenticate(server: &TestServer, user: &User, device: &mut Authenticator) -> Answer {
    let options = begin_sign_in(server);
    let credential = device.get(&options);
    let body = json!({"credential": credential, "session_id": options["session_id"]});
    api(server, user, "POST", "reauthenticate/", &body)
}

fn begin_second_step(server: &TestServer, ticket: &str) -> Answer {
    server.post("mfa/webauthn/begin/", &json!({"ephemeral_token": ticket}))
}

fn second_step(server: &TestServer, ticket: &str, credential: &Value) -> Answer {
    let body = json!({"ephemeral_token": ticket, "credential": credential});
    server.post("mfa/verify/", &body)
}

fn list(server: &TestServer, user: &User) -> Vec<Value> {
    let answer = server.get("passkeys/", Some(&user.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}

fn count(server: &TestServer, kind: &str) -> i64 {
    server.db_number(&format!(
        "SELECT coalesce(sum(count), 0) FROM events WHERE event = '{kind}'"
    ))
}

/// A user with a passkey.
fn user_with_passkey(server: &TestServer, email: &str) -> (User, Authenticator) {
    let mut user = server.user(email);
    let mut device = Authenticator::at(ORIGIN);
    add(server, &mut user, &mut device);
    (user, device)
}

#[test]
fn creation_options_ask_for_passkeys_alone() {
    let server = TestServer::start_with(|config| config.branding.name = "My App".into());
    let user = server.user(EMAIL);
    let mut options = begin(&server, &user);
    let challenge = options["challenge"].take();
    let handle = options["user"]["id"].take();
    // 32 and 64 random bytes.
    assert_eq!(challenge.as_str().unwrap().len(), 43);
    assert_eq!(handle.as_str().unwrap().len(), 86);
    assert_eq!(
        options,
        json!({
            "rp": {"id": "localhost", "name": "My App"},
            "user": {"id": null, "name": EMAIL, "displayName": EMAIL},
            "challenge": null,
            "pubKeyCredParams": [
                {"type": "public-key", "alg": -7},
                {"type": "public-key", "alg": -8},
                {"type": "public-key", "alg": -257},
            ],
            "timeout": 300_000,
            "excludeCredentials": [],
            "authenticatorSelection": {
                "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
            },
            "attestation": "none",
        })
    );
    // The challenge is another one each time, the handle that of the account.
    let again = begin(&server, &user);
    assert_ne!(again["challenge"], challenge);
    assert_eq!(again["user"]["id"], handle);
    let other = server.user("other@example.com");
    assert_ne!(begin(&server, &other)["user"]["id"], handle);
    let named = server.patch(
        "users/me/",
        &user,
        &json!({"first_name": "Ann", "last_name": "Example"}),
    );
    assert_eq!(named.status, 200, "{}", named.body);
    assert_eq!(begin(&server, &user)["user"]["displayName"], "Ann Example");
}

#[test]
fn first_passkey_gives_recovery_codes_and_ends_other_sessions() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let other = user.with_pair(&server.sign_in(EMAIL, PASSWORD));
    let mut device = Authenticator::at(ORIGIN);
    let added = add(&server, &mut user, &mut device);
    let keys: Vec<_> = added.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "id",
            "name",
            "created_at",
            "last_used_at",
            "transports",
            "backed_up",
            "current",
            "recovery_codes"
        ]
    );
    assert_eq!(added["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(added["name"], "Phone");
    assert_eq!(added["created_at"], "2024-12-03T12:00:00Z");
    assert_eq!(added["last_used_at"], Value::Null);
    assert_eq!(added["transports"], json!(["internal", "hybrid"]));
    assert_eq!(
        (&added["backed_up"], &added["current"]),
        (&json!(true), &json!(true))
    );
    server.assert_ended(&other);
    // Adding one counts as its use, from the next refresh on.
    assert_eq!(
        claims(&user.access)["amr"],
        json!(["otp", "user", "swk", "mfa"])
    );
    let status = server.get("mfa/status/", Some(&user.access)).json();
    assert_eq!(status["mfa_enabled"], true);
    assert_eq!(status["methods"], json!(["recovery_code", "webauthn"]));
    assert_eq!(status["recovery_codes_left"], 10);
    assert_eq!(status["created_at"], "2024-12-03T12:00:00Z");
    let mail = server.mails(EMAIL).remove(0);
    assert!(
        mail.subject.contains("passkey was added"),
        "{}",
        mail.subject
    );
    assert!(mail.link.is_some());
    // A second one brings no codes. The authenticator learns which ones there are.
    let options = begin(&server, &user);
    assert_eq!(
        options["excludeCredentials"],
        json!([{"type": "public-key", "id": encode(&device.passkeys[0].id),
            "transports": ["internal", "hybrid"]}])
    );
    let credential = device.create(&options);
    let second = complete(&server, &user, &credential, "Laptop");
    assert_eq!(second.status, 201, "{}", second.body);
    assert!(
        second.json().get("recovery_codes").is_none(),
        "{}",
        second.body
    );
    assert_eq!(list(&server, &user).len(), 2);
    assert_eq!(count(&server, "passkey_added"), 2);
    let series = r#"accounts_second_factors_total{method="webauthn",event="enrolled"}"#;
    assert_eq!(server.metric(series), 2);
}

#[test]
fn passkey_signs_in_without_a_password() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    let options = begin_sign_in(&server);
    let keys: Vec<_> = options.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "challenge",
            "timeout",
            "rpId",
            "allowCredentials",
            "userVerification",
            "session_id"
        ]
    );
    assert_eq!(options["rpId"], "localhost");
    assert_eq!(options["allowCredentials"], json!([]));
    assert_eq!(options["userVerification"], "required");
    server.advance_seconds(60);
    let credential = device.get(&options);
    let pair = complete_sign_in(&server, &options, &credential);
    assert_eq!(pair.status, 200, "{}", pair.body);
    let signed = user.with_pair(&pair);
    assert_eq!(claims(&signed.access)["amr"], json!(["user", "swk", "mfa"]));
    assert_eq!(server.get("users/me/", Some(&signed.access)).status, 200);
    let refreshed = refreshed(&server, &signed);
    assert_eq!(
        claims(&refreshed.access)["amr"],
        json!(["user", "swk", "mfa"])
    );
    assert_eq!(
        list(&server, &user)[0]["last_used_at"],
        "2024-12-03T12:01:00Z"
    );
    // It is recent authentication with a factor.
    let path = "mfa/recovery-codes/regenerate/";
    assert_eq!(api(&server, &signed, "POST", path, &json!({})).status, 200);
    let sessions = server.get("sessions/", Some(&signed.access)).json();
    assert_eq!(sessions[0]["amr"], json!(["user", "swk", "mfa"]));
    // Other clients write `base64url` with padding, and members that we do not know.
    let options = begin_sign_in(&server);
    let mut credential = device.get(&options);
    for name in [
        "clientDataJSON",
        "authenticatorData",
        "signature",
        "userHandle",
    ] {
        let text = credential["response"][name].as_str().unwrap().to_owned();
        credential["response"][name] = json!(format!("{text:=<0$}", text.len().div_ceil(4) * 4));
    }
    credential["response"]["more"] = json!([1]);
    assert_eq!(complete_sign_in(&server, &options, &credential).status, 200);
    let series = r#"accounts_second_factors_total{method="webauthn",event="verified"}"#;
    assert_eq!(server.metric(series), 2);
}

#[test]
fn all_offered_algorithms_sign_in() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    for key in [Key::es256(), Key::eddsa(), Key::rs256()] {
        let algorithm = key.algorithm();
        for format in ["none", "packed"] {
            let key = match algorithm {
                -7 => Key::es256(),
                -8 => Key::eddsa(),
                _ => Key::rs256(),
            };
            let mut device = Authenticator::at(ORIGIN);
            let options = begin(&server, &user);
            let credential = device.create_with(&options, key, |c| c.format = format.into());
            let added = complete(&server, &user, &credential, "Key");
            assert_eq!(added.status, 201, "{algorithm} {format}: {}", added.body);
            user = refreshed(&server, &user);
            let pair = sign_in(&server, &mut device);
            assert_eq!(pair.status, 200, "{algorithm} {format}: {}", pair.body);
        }
    }
}

#[test]
fn registration_wants_a_right_answer() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let off_curve = || {
        let member = |name, value| (cbor::int(name), value);
        cbor::map(&[
            member(1, cbor::int(2)),
            member(3, cbor::int(-7)),
            member(-1, cbor::int(1)),
            member(-2, cbor::bytes(&[7; 32])),
            member(-3, cbor::bytes(&[7; 32])),
        ])
    };
    let cases: Vec<Case> = vec![
        (
            "another origin",
            Box::new(|c| c.origin = "http://localhost:8001".into()),
        ),
        (
            "another scheme",
            Box::new(|c| c.origin = "https://localhost:8000".into()),
        ),
        ("no origin", Box::new(|c| c.origin = String::new())),
        (
            "another domain",
            Box::new(|c| c.rp_id = "localhost.example".into()),
        ),
        ("another type", Box::new(|c| c.kind = "webauthn.get".into())),
        ("another challenge", Box::new(|c| c.challenge = vec![7; 32])),
        ("a short challenge", Box::new(|c| c.challenge.truncate(31))),
        (
            "an embedded page",
            Box::new(|c| c.client_data = vec![("crossOrigin", json!(true))]),
        ),
        (
            "a page above",
            Box::new(|c| {
                c.client_data = vec![("topOrigin", json!("https://evil.example"))];
            }),
        ),
        (
            "crossOrigin of another type",
            Box::new(|c| c.client_data = vec![("crossOrigin", json!("no"))]),
        ),
        ("nobody there", Box::new(|c| c.flags &= !PRESENT)),
        ("nobody verified", Box::new(|c| c.flags &= !VERIFIED)),
        (
            "a copy of what cannot be copied",
            Box::new(|c| {
                c.flags = PRESENT | VERIFIED | BACKED_UP | HAS_CREDENTIAL;
            }),
        ),
        ("no credential", Box::new(|c| c.flags &= !HAS_CREDENTIAL)),
        ("no id", Box::new(|c| c.credential_id = Vec::new())),
        (
            "an id that is too long",
            Box::new(|c| c.credential_id = vec![7; 1024]),
        ),
        ("more data", Box::new(|c| c.trailer = vec![0])),
        (
            "extensions that are announced only",
            Box::new(|c| c.flags |= HAS_EXTENSIONS),
        ),
        (
            "extensions that are not a map",
            Box::new(|c| {
                c.flags |= HAS_EXTENSIONS;
                c.trailer = cbor::text("credProtect");
            }),
        ),
        (
            "extensions of endless length",
            Box::new(|c| {
                c.flags |= HAS_EXTENSIONS;
                c.trailer = vec![0xbf, 0xff, 0xff];
            }),
        ),
        (
            "a key of an algorithm that was not offered",
            Box::new(|c| {
                c.public_key = Key::es256().cose(-35);
            }),
        ),
        (
            "a key of another type than its algorithm",
            Box::new(|c| {
                c.public_key = Key::es256().cose(-8);
            }),
        ),
        (
            "RS256 with a curve",
            Box::new(|c| c.public_key = Key::es256().cose(-257)),
        ),
        (
            "a point that is not on the curve",
            Box::new(move |c| c.public_key = off_curve()),
        ),
        ("no key", Box::new(|c| c.public_key = Vec::new())),
        ("an empty key", Box::new(|c| c.public_key = cbor::map(&[]))),
        (
            "a key that is not a map",
            Box::new(|c| c.public_key = cbor::array(&[])),
        ),
        (
            "a key that breaks off",
            Box::new(|c| {
                c.public_key.pop();
            }),
        ),
        (
            "a label twice",
            Box::new(|c| {
                let mut key = Key::eddsa().cose(-8);
                key[0] += 1;
                key.extend(cbor::int(3));
                key.extend(cbor::int(-8));
                c.public_key = key;
            }),
        ),
        (
            "a statement where none belongs",
            Box::new(|c| {
                c.statement = Some(cbor::map(&[(cbor::text("sig"), cbor::bytes(&[7]))]));
            }),
        ),
        (
            "a statement that is not a map",
            Box::new(|c| c.statement = Some(cbor::text(""))),
        ),
        (
            "a wrong statement of its own",
            Box::new(|c| {
                c.format = "packed".into();
                c.breaks_signature = true;
            }),
        ),
        (
            "a statement of another algorithm",
            Box::new(|c| {
                c.format = "packed".into();
                c.statement = Some(cbor::map(&[
                    (cbor::text("alg"), cbor::int(-257)),
                    (cbor::text("sig"), cbor::bytes(&[7; 70])),
                ]));
            }),
        ),
    ];
    for (what, falsify) in cases {
        let mut device = Authenticator::at(ORIGIN);
        let options = begin(&server, &user);
        let credential = device.create_with(&options, Key::es256(), falsify);
        let answer = complete(&server, &user, &credential, "Phone");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, INVALID),
            "{what}"
        );
    }
    assert_eq!(server.db_number("SELECT count(*) FROM passkeys"), 0);
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
}

#[test]
fn registration_wants_the_json_form() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let path = "passkeys/register/complete/";
    let complete = |credential: Value| {
        let body = json!({"credential": credential, "name": "Phone"});
        api(&server, &user, "POST", path, &body)
    };
    let whole = Authenticator::at(ORIGIN).create(&begin(&server, &user));
    let with = |name: &str, value: Value| {
        let mut credential = whole.clone();
        match name.split_once('.') {
            Some((outer, inner)) => credential[outer][inner] = value,
            None => credential[name] = value,
        }
        credential
    };
    for credential in [
        json!({}),
        json!([]),
        json!("text"),
        json!(1),
        with("id", json!("b3RoZXI")),
        with("rawId", json!("b3RoZXI")),
        with("rawId", Value::Null),
        with("type", json!("password")),
        with("response", json!({})),
        with("response.clientDataJSON", json!("****")),
        with("response.clientDataJSON", json!("e30")),
        with("response.clientDataJSON", json!("W10")),
        with("response.clientDataJSON", json!([1, 2])),
        with("response.attestationObject", json!("")),
        with("response.attestationObject", json!("oA")),
        with("response.attestationObject", json!("v_8")),
        with("response.attestationObject", json!(encode(&[0xbb; 64]))),
        with("response.attestationObject", json!(encode(&[0x9f; 15_000]))),
        with("response.transports", json!("usb")),
    ] {
        let answer = complete(credential.clone());
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, INVALID),
            "{credential}"
        );
    }
    let both = r#"{"credential":["This field is required."],"name":["This field is required."]}"#;
    api(&server, &user, "POST", path, &json!({})).assert(400, both);
    complete(Value::Null).assert(400, r#"{"credential":["This field may not be null."]}"#);
    // A name is of 1 to 64 characters. What is wrong with it leaves the challenge alive.
    let named = |name: Value| {
        let credential = Authenticator::at(ORIGIN).create(&begin(&server, &user));
        api(
            &server,
            &user,
            "POST",
            path,
            &json!({"credential": credential, "name": name}),
        )
    };
    named(json!(" ")).assert(400, r#"{"name":["This field may not be blank."]}"#);
    named(json!("é".repeat(65))).assert(
        400,
        r#"{"name":["Ensure this field has no more than 64 characters."]}"#,
    );
    assert_eq!(named(json!("é".repeat(64))).status, 201);
    let user = refreshed(&server, &user);
    let credential = Authenticator::at(ORIGIN).create(&begin(&server, &user));
    let added = self::complete(&server, &user, &credential, " My\nkey\u{7} ");
    assert_eq!(added.text("name"), "My key ");
    // A form carries the credential as text.
    let options = begin(&server, &user);
    let credential = Authenticator::at(ORIGIN).create(&options).to_string();
    let body = serde_urlencoded(&[("credential", &credential), ("name", "Form")]);
    let answer = server.request(
        "POST",
        "/api/v1/accounts/passkeys/register/complete/",
        &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("authorization", &format!("Bearer {}", user.access)),
        ],
        body,
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
}

fn serde_urlencoded(pairs: &[(&str, &str)]) -> String {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(pairs);
    body.finish()
}

#[test]
fn transports_that_are_no_names_are_dropped() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let mut credential = Authenticator::at(ORIGIN).create(&begin(&server, &user));
    credential["response"]["transports"] =
        json!(["usb", "usb", "", "a b", "x".repeat(33), "smart-card"]);
    let added = complete(&server, &user, &credential, "Key");
    assert_eq!(added.json()["transports"], json!(["usb", "smart-card"]));
    user = refreshed(&server, &user);
    let mut credential = Authenticator::at(ORIGIN).create(&begin(&server, &user));
    credential["response"]
        .as_object_mut()
        .unwrap()
        .remove("transports");
    let added = complete(&server, &user, &credential, "Key");
    assert_eq!(added.json()["transports"], json!([]));
}

#[test]
fn registration_belongs_to_a_session_and_happens_once() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let same = user.with_pair(&server.sign_in(EMAIL, PASSWORD));
    let stranger = server.user("stranger@example.com");
    let mut device = Authenticator::at(ORIGIN);
    // Of another account, and of another session of the same one. The challenge is left alive.
    let credential = device.create(&begin(&server, &user));
    complete(&server, &stranger, &credential, "Phone").assert(400, INVALID);
    complete(&server, &same, &credential, "Phone").assert(400, INVALID);
    assert_eq!(complete(&server, &user, &credential, "Phone").status, 201);
    complete(&server, &user, &credential, "Phone").assert(400, INVALID);
    let user = refreshed(&server, &user);
    // For another purpose.
    let mut options = begin(&server, &user);
    options["challenge"] = begin_sign_in(&server)["challenge"].clone();
    let credential = device.create(&options);
    complete(&server, &user, &credential, "Phone").assert(400, INVALID);
    // An answer that is refused uses the challenge up.
    let options = begin(&server, &user);
    let wrong = device.create_with(&options, Key::es256(), |c| c.flags &= !VERIFIED);
    complete(&server, &user, &wrong, "Phone").assert(400, INVALID);
    let right = device.create(&options);
    complete(&server, &user, &right, "Phone").assert(400, INVALID);
    // In time.
    let options = begin(&server, &user);
    server.advance_seconds(300);
    let user = refreshed(&server, &user);
    let late = device.create(&options);
    complete(&server, &user, &late, "Phone").assert(400, INVALID);
    assert_eq!(list(&server, &user).len(), 1);
}

#[test]
fn registration_wants_recent_authentication() {
    let server = TestServer::start();
    let (user, _) = user_with_passkey(&server, EMAIL);
    let passkey = list(&server, &user).remove(0);
    server.advance_seconds(600);
    let user = refreshed(&server, &user);
    let path = format!("passkeys/{}/", passkey["id"].as_str().unwrap());
    api(
        &server,
        &user,
        "POST",
        "passkeys/register/begin/",
        &json!({}),
    )
    .assert(403, RECENT);
    api(&server, &user, "DELETE", &path, &json!({})).assert(403, RECENT);
    assert_eq!(
        api(&server, &user, "PATCH", &path, &json!({"name": "A"})).status,
        200
    );
    for (method, path) in [
        ("POST", "passkeys/register/begin/"),
        ("POST", "passkeys/register/complete/"),
        ("GET", "passkeys/"),
        ("GET", path.as_str()),
        ("PATCH", path.as_str()),
        ("DELETE", path.as_str()),
    ] {
        let body = json!({});
        server.api(method, path, None, &body).assert(401, NO_TOKEN);
        server
            .api(method, path, Some("x"), &body)
            .assert(401, BAD_TOKEN);
    }
}

#[test]
fn credential_of_somebody_else_is_not_added() {
    let server = TestServer::start();
    let (_, device) = user_with_passkey(&server, EMAIL);
    let other = server.user("other@example.com");
    let id = device.passkeys[0].id.clone();
    let options = begin(&server, &other);
    let credential =
        Authenticator::at(ORIGIN).create_with(&options, Key::es256(), |c| c.credential_id = id);
    complete(&server, &other, &credential, "Phone").assert(400, INVALID);
    assert!(list(&server, &other).is_empty());
    let status = server.get("mfa/status/", Some(&other.access)).json();
    assert_eq!(status["mfa_enabled"], false);
}

#[test]
fn account_has_at_most_twenty_passkeys() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    for _ in 0..19 {
        add(&server, &mut user, &mut device);
    }
    // Two at once for the last place.
    let (first, second) = (begin(&server, &user), begin(&server, &user));
    let credentials = [device.create(&first), device.create(&second)];
    let answers = at_once(2, |n| {
        complete(&server, &user, &credentials[n], "Last").status
    });
    assert!(
        answers.contains(&201) && answers.contains(&400),
        "{answers:?}"
    );
    assert_eq!(list(&server, &user).len(), 20);
    api(
        &server,
        &user,
        "POST",
        "passkeys/register/begin/",
        &json!({}),
    )
    .assert(
        400,
        r#"{"detail":"An account can have at most 20 passkeys. Remove one first."}"#,
    );
}

#[test]
fn sign_in_wants_a_right_answer() {
    let server = TestServer::start();
    let (_, mut device) = user_with_passkey(&server, EMAIL);
    let (_, mut other) = user_with_passkey(&server, "other@example.com");
    let other_handle = other.passkeys[0].user_handle.clone();
    let other_id = other.passkeys[0].id.clone();
    let cases: Vec<Case> = vec![
        (
            "another origin",
            Box::new(|c| c.origin = "https://localhost".into()),
        ),
        (
            "another domain",
            Box::new(|c| c.rp_id = "example.com".into()),
        ),
        (
            "another type",
            Box::new(|c| c.kind = "webauthn.create".into()),
        ),
        ("another challenge", Box::new(|c| c.challenge = vec![7; 32])),
        (
            "an embedded page",
            Box::new(|c| c.client_data = vec![("crossOrigin", json!(true))]),
        ),
        ("nobody there", Box::new(|c| c.flags &= !PRESENT)),
        ("nobody verified", Box::new(|c| c.flags &= !VERIFIED)),
        (
            "a copy of what cannot be copied",
            Box::new(|c| c.flags = PRESENT | VERIFIED | BACKED_UP),
        ),
        ("more data", Box::new(|c| c.trailer = vec![0])),
        ("a wrong signature", Box::new(|c| c.breaks_signature = true)),
        ("no account", Box::new(|c| c.user_handle = None)),
        (
            "an empty account",
            Box::new(|c| c.user_handle = Some(Vec::new())),
        ),
        (
            "another account",
            Box::new(move |c| c.user_handle = Some(other_handle.clone())),
        ),
        (
            "an unknown passkey",
            Box::new(|c| c.credential_id = vec![7; 32]),
        ),
        (
            "a passkey of somebody else",
            Box::new(move |c| c.credential_id = other_id.clone()),
        ),
        ("no passkey", Box::new(|c| c.credential_id = Vec::new())),
        (
            "an id that is too long",
            Box::new(|c| c.credential_id = vec![7; 1024]),
        ),
    ];
    let sessions = server.db_number("SELECT count(*) FROM sessions");
    for (what, falsify) in cases {
        let options = begin_sign_in(&server);
        let credential = device.get_with(&options, falsify);
        let answer = complete_sign_in(&server, &options, &credential);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNKNOWN_CREDENTIALS),
            "{what}"
        );
        // The challenge is used up by it, if it has the form of an answer to it.
        let right = device.get(&options);
        if !["another challenge", "an id that is too long"].contains(&what) {
            let again = complete_sign_in(&server, &options, &right);
            assert_eq!(again.status, 401, "{what}");
        }
    }
    for credential in [
        json!({}),
        json!({"id": "AA", "rawId": "AA", "type": "public-key"}),
    ] {
        let options = begin_sign_in(&server);
        complete_sign_in(&server, &options, &credential).assert(401, UNKNOWN_CREDENTIALS);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), sessions);
    assert!(count(&server, "sign_in_failed") > 10);
    let missing =
        r#"{"credential":["This field is required."],"session_id":["This field is required."]}"#;
    server
        .post("passkeys/login/complete/", &json!({}))
        .assert(400, missing);
    let body = json!({"credential": [], "session_id": "x"});
    server
        .post("passkeys/login/complete/", &body)
        .assert(400, INVALID);
    assert_eq!(sign_in(&server, &mut device).status, 200);
    assert_eq!(sign_in(&server, &mut other).status, 200);
}

#[test]
fn challenge_of_a_sign_in_is_answered_once_and_in_time() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    let options = begin_sign_in(&server);
    let credential = device.get(&options);
    // With the id of another sign-in.
    complete_sign_in(&server, &begin_sign_in(&server), &credential)
        .assert(401, UNKNOWN_CREDENTIALS);
    complete_sign_in(&server, &json!({"session_id": "x"}), &credential)
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(complete_sign_in(&server, &options, &credential).status, 200);
    complete_sign_in(&server, &options, &credential).assert(401, UNKNOWN_CREDENTIALS);
    // Many at once.
    let options = begin_sign_in(&server);
    let credential = device.get(&options);
    let statuses = at_once(20, |_| {
        complete_sign_in(&server, &options, &credential).status
    });
    let signed_in = statuses.iter().filter(|status| **status == 200);
    assert_eq!(signed_in.count(), 1, "{statuses:?}");
    // In time.
    let options = begin_sign_in(&server);
    server.advance_seconds(300);
    let credential = device.get(&options);
    complete_sign_in(&server, &options, &credential).assert(401, UNKNOWN_CREDENTIALS);
    // For this purpose: the challenge of a registration signs nobody in.
    let user = refreshed(&server, &user);
    let mut options = begin_sign_in(&server);
    options["challenge"] = begin(&server, &user)["challenge"].clone();
    let credential = device.get(&options);
    complete_sign_in(&server, &options, &credential).assert(401, UNKNOWN_CREDENTIALS);
    // Expired ones are deleted.
    server.advance_seconds(300);
    begin_sign_in(&server);
    assert_eq!(
        server.db_number("SELECT count(*) FROM passkey_challenges"),
        1
    );
    server.advance_seconds(300);
    server.clear_expired();
    assert_eq!(
        server.db_number("SELECT count(*) FROM passkey_challenges"),
        0
    );
}

#[test]
fn challenges_are_stored_as_keyed_hashes() {
    let server = TestServer::start();
    let options = begin_sign_in(&server);
    let challenge = crate::device::decode(&options["challenge"]);
    let stored = server.db_blob("SELECT challenge_hash FROM passkey_challenges");
    assert_ne!(stored, challenge);
    assert_ne!(stored, digest::digest(&digest::SHA256, &challenge).as_ref());
    let subject = server.db_blob("SELECT subject FROM passkey_challenges");
    assert_ne!(subject, options["session_id"].as_str().unwrap().as_bytes());
}

#[test]
fn counter_has_to_rise() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    device.counts = true;
    add(&server, &mut user, &mut device);
    assert_eq!(sign_in(&server, &mut device).status, 200);
    let stored = "SELECT sign_count FROM passkeys";
    assert_eq!(server.db_number(stored), 2);
    let mut with_count = |count: u32| {
        let options = begin_sign_in(&server);
        let credential = device.get_with(&options, |c| c.count = count);
        complete_sign_in(&server, &options, &credential)
    };
    for count in [2, 1, 0] {
        with_count(count).assert(401, UNKNOWN_CREDENTIALS);
        assert_eq!(server.db_number(stored), 2);
    }
    assert_eq!(count(&server, "passkey_counter_refused"), 3);
    assert_eq!(
        server.db_text("SELECT max(detail) FROM events WHERE event = 'passkey_counter_refused'"),
        "Phone"
    );
    assert_eq!(with_count(9).status, 200);
    assert_eq!(server.db_number(stored), 9);
    assert_eq!(with_count(u32::MAX).status, 200);
    // As a factor, too.
    let ticket = ticket(&server, EMAIL);
    let options = begin_second_step(&server, &ticket).json();
    let credential = device.get_with(&options, |c| c.count = 9);
    second_step(&server, &ticket, &credential).assert(400, INVALID);
    assert_eq!(count(&server, "passkey_counter_refused"), 4);
}

#[test]
fn account_that_may_not_sign_in_is_like_an_unknown_one() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    server.db_execute(&format!(
        "UPDATE users SET is_active = FALSE WHERE id = {}",
        user.id
    ));
    sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
    server.db_execute(&format!(
        "UPDATE users SET is_active = TRUE WHERE id = {}",
        user.id
    ));
    assert_eq!(sign_in(&server, &mut device).status, 200);
    let deleted = api(
        &server,
        &user,
        "DELETE",
        "users/me/",
        &json!({"password": PASSWORD}),
    );
    assert_eq!(deleted.status, 204, "{}", deleted.body);
    sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
    for table in ["passkeys", "passkey_handles", "recovery_codes"] {
        let rows = server.db_number(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(rows, 0, "{table}");
    }
}

#[test]
fn passkey_alone_is_a_factor() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    let (_, mut stranger) = user_with_passkey(&server, "stranger@example.com");
    let answer = server.sign_in(EMAIL, PASSWORD);
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert_eq!(answer.text("code"), "mfa_required");
    assert_eq!(
        answer.json()["methods"],
        json!(["recovery_code", "webauthn"])
    );
    let token = answer.text("ephemeral_token");
    let started = begin_second_step(&server, &token);
    assert_eq!(started.status, 200, "{}", started.body);
    let options = started.json();
    assert!(options.get("session_id").is_none());
    assert_eq!(
        options["allowCredentials"][0]["id"],
        json!(encode(&device.passkeys[0].id))
    );
    // An authenticator that was asked for this passkey need not name the account.
    let credential = device.get_with(&options, |c| c.user_handle = None);
    let pair = second_step(&server, &token, &credential);
    assert_eq!(pair.status, 200, "{}", pair.body);
    let signed = user.with_pair(&pair);
    assert_eq!(
        claims(&signed.access)["amr"],
        json!(["pwd", "user", "swk", "mfa"])
    );
    second_step(&server, &token, &credential).assert(401, DEAD_TOKEN);
    begin_second_step(&server, &token).assert(401, DEAD_TOKEN);

    let token = ticket(&server, EMAIL);
    let fresh = || begin_second_step(&server, &token).json();
    // A passkey of somebody else, a challenge of another ticket and of a sign-in.
    let mut foreign = fresh();
    foreign["allowCredentials"] = json!([]);
    let credential = stranger.get(&foreign);
    second_step(&server, &token, &credential).assert(400, INVALID);
    let other = begin_second_step(&server, &ticket(&server, EMAIL)).json();
    let credential = device.get(&other);
    second_step(&server, &token, &credential).assert(400, INVALID);
    let mut started = begin_sign_in(&server);
    let credential = device.get(&started);
    second_step(&server, &token, &credential).assert(400, INVALID);
    // The challenge of a ticket signs nobody in without it.
    started["challenge"] = fresh()["challenge"].clone();
    let credential = device.get(&started);
    complete_sign_in(&server, &started, &credential).assert(401, UNKNOWN_CREDENTIALS);
    // Five wrong answers are the end of a ticket.
    for _ in 0..2 {
        let credential = device.get_with(&fresh(), |c| c.breaks_signature = true);
        second_step(&server, &token, &credential).assert(400, INVALID);
    }
    begin_second_step(&server, &token).assert(401, DEAD_TOKEN);
    let body = json!({"ephemeral_token": ticket(&server, EMAIL)});
    server
        .post("mfa/verify/", &body)
        .assert(400, r#"{"code":["This field is required."]}"#);
    let body = json!({"ephemeral_token": "x", "credential": []});
    server.post("mfa/verify/", &body).assert(400, INVALID);
    begin_second_step(&server, "x").assert(401, DEAD_TOKEN);
    // An account without a passkey has nothing to begin.
    let mut third = server.user("third@example.com");
    enroll(&server, &mut third);
    let token = ticket(&server, "third@example.com");
    begin_second_step(&server, &token).assert(400, r#"{"detail":"MFA is not enabled."}"#);
}

#[test]
fn wrong_passkeys_do_not_shut_out_codes_of_an_app() {
    let server = TestServer::start();
    let (mut user, mut device) = user_with_passkey(&server, EMAIL);
    let app = enroll_second(&server, &mut user);
    for _ in 0..25 {
        let token = ticket(&server, EMAIL);
        let options = begin_second_step(&server, &token).json();
        let credential = device.get_with(&options, |c| c.breaks_signature = true);
        second_step(&server, &token, &credential).assert(400, INVALID);
    }
    server.advance_seconds(60);
    let body = json!({"email": EMAIL, "password": PASSWORD, "code": app.code(&server)});
    assert_eq!(server.post("token/", &body).status, 200);
    let answer = server.sign_in(EMAIL, PASSWORD);
    assert_eq!(
        answer.json()["methods"],
        json!(["totp", "recovery_code", "webauthn"])
    );
}

/// Enrolls an app beside a passkey.
fn enroll_second(server: &TestServer, user: &mut User) -> crate::factors::App {
    let started = server.get("mfa/totp/activate/", Some(&user.access));
    let app = crate::factors::App::of(&started.text("secret"));
    let body = json!({
        "activation_token": started.text("activation_token"), "code": app.code(server),
    });
    let activated = api(server, user, "POST", "mfa/totp/activate/", &body);
    activated.assert(200, r#"{"recovery_codes":[]}"#);
    *user = refreshed(server, user);
    app
}

#[test]
fn tickets_end_with_every_change_of_passkeys() {
    let server = TestServer::start();
    let (mut user, mut device) = user_with_passkey(&server, EMAIL);
    let dead = |token: &str| {
        begin_second_step(&server, token).assert(401, DEAD_TOKEN);
        second_step(&server, token, &json!({})).assert(401, DEAD_TOKEN);
    };
    let token = ticket(&server, EMAIL);
    let added = add(&server, &mut user, &mut device);
    dead(&token);
    // A name is not a change.
    let token = ticket(&server, EMAIL);
    let path = format!("passkeys/{}/", added["id"].as_str().unwrap());
    assert_eq!(
        api(&server, &user, "PATCH", &path, &json!({"name": "A"})).status,
        200
    );
    assert_eq!(begin_second_step(&server, &token).status, 200);
    assert_eq!(api(&server, &user, "DELETE", &path, &json!({})).status, 204);
    dead(&token);
    let token = ticket(&server, EMAIL);
    let change = json!({
        "current_password": PASSWORD, "password": "another-Passw0rd", "confirm_password": "another-Passw0rd",
    });
    let changed = api(&server, &user, "POST", "password/change/", &change);
    assert_eq!(changed.status, 200, "{}", changed.body);
    dead(&token);
}

#[test]
fn passkey_authenticates_again() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    let (_, mut stranger) = user_with_passkey(&server, "stranger@example.com");
    server.advance_seconds(600);
    let old = refreshed(&server, &user);
    api(
        &server,
        &old,
        "POST",
        "passkeys/register/begin/",
        &json!({}),
    )
    .assert(403, RECENT);
    api(
        &server,
        &old,
        "POST",
        "reauthenticate/",
        &json!({"password": PASSWORD}),
    )
    .assert(400, r#"{"code":["This field is required."]}"#);
    reauthenticate(&server, &old, &mut stranger).assert(400, INVALID);
    let options = begin_sign_in(&server);
    let credential = device.get(&options);
    let body = json!({"credential": credential});
    api(&server, &old, "POST", "reauthenticate/", &body)
        .assert(400, r#"{"session_id":["This field is required."]}"#);
    let answer = reauthenticate(&server, &old, &mut device);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let fresh = User {
        access: answer.text("access"),
        ..old.clone()
    };
    assert_eq!(
        claims(&fresh.access)["amr"],
        json!(["otp", "user", "swk", "mfa"])
    );
    assert_eq!(
        api(
            &server,
            &fresh,
            "POST",
            "passkeys/register/begin/",
            &json!({})
        )
        .status,
        200
    );
    api(
        &server,
        &old,
        "POST",
        "passkeys/register/begin/",
        &json!({}),
    )
    .assert(403, RECENT);
}

#[test]
fn passkeys_are_listed_named_and_removed() {
    let server = TestServer::start();
    let (mut user, mut device) = user_with_passkey(&server, EMAIL);
    server.advance_seconds(1);
    add(&server, &mut user, &mut device);
    let (stranger, _) = user_with_passkey(&server, "stranger@example.com");
    let passkeys = list(&server, &user);
    assert_eq!(passkeys.len(), 2);
    assert_eq!(passkeys[0]["created_at"], "2024-12-03T12:00:00Z");
    let path = format!("passkeys/{}/", passkeys[0]["id"].as_str().unwrap());
    let one = server.get(&path, Some(&user.access));
    one.assert_json(200, &passkeys[0]);
    let renamed = api(
        &server,
        &user,
        "PATCH",
        &path,
        &json!({"name": " Old phone "}),
    );
    assert_eq!(
        (renamed.status, renamed.text("name")),
        (200, "Old phone".to_owned())
    );
    assert_eq!(list(&server, &user)[0]["name"], "Old phone");
    api(&server, &user, "PATCH", &path, &json!({}))
        .assert(400, r#"{"name":["This field is required."]}"#);
    api(&server, &user, "PATCH", &path, &json!({"name": ""}))
        .assert(400, r#"{"name":["This field may not be blank."]}"#);
    for (method, body) in [
        ("GET", json!({})),
        ("PATCH", json!({"name": "A"})),
        ("DELETE", json!({})),
    ] {
        api(&server, &stranger, method, &path, &body).assert(404, NOT_FOUND);
        api(&server, &user, method, "passkeys/unknown/", &body).assert(404, NOT_FOUND);
    }
    let removed = api(&server, &user, "DELETE", &path, &json!({}));
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    api(&server, &user, "DELETE", &path, &json!({})).assert(404, NOT_FOUND);
    assert_eq!(list(&server, &user).len(), 1);
    let mail = server.mails(EMAIL).remove(0);
    assert!(
        mail.subject.contains("passkey was removed"),
        "{}",
        mail.subject
    );
    assert!(mail.text.contains("Old phone"), "{}", mail.text);
    assert_eq!(count(&server, "passkey_removed"), 1);
    // The removed one signs in no more, the other one does; with the last one the codes go.
    let lost = device.passkeys.remove(0);
    let kept = std::mem::replace(&mut device.passkeys, vec![lost]);
    sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
    device.passkeys = kept;
    assert_eq!(sign_in(&server, &mut device).status, 200);
    assert_eq!(
        server.get("mfa/status/", Some(&user.access)).json()["recovery_codes_left"],
        10
    );
    let path = format!("passkeys/{}/", passkeys[1]["id"].as_str().unwrap());
    assert_eq!(api(&server, &user, "DELETE", &path, &json!({})).status, 204);
    let status = server.get("mfa/status/", Some(&user.access)).json();
    assert_eq!(
        (&status["mfa_enabled"], &status["recovery_codes_left"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
}

#[test]
fn app_and_passkeys_are_removed_each_for_itself() {
    let server = TestServer::start();
    let (mut user, _) = user_with_passkey(&server, EMAIL);
    let app = enroll_second(&server, &mut user);
    server.advance_seconds(60);
    let body = json!({"code": app.code(&server)});
    let removed = api(&server, &user, "POST", "mfa/totp/deactivate/", &body);
    assert_eq!(removed.status, 200, "{}", removed.body);
    let status = server.get("mfa/status/", Some(&user.access)).json();
    assert_eq!(status["methods"], json!(["recovery_code", "webauthn"]));
    assert_eq!(status["recovery_codes_left"], 10);
    let mail = server.mails(EMAIL).remove(0);
    assert!(mail.subject.contains("app was removed"), "{}", mail.subject);
}

#[test]
fn last_way_in_cannot_be_removed() {
    let server = TestServer::start();
    let (mut user, mut device) = user_with_passkey(&server, EMAIL);
    server.db_execute(&format!(
        "UPDATE users SET password_hash = '!' WHERE id = {}",
        user.id
    ));
    let path = format!(
        "passkeys/{}/",
        list(&server, &user)[0]["id"].as_str().unwrap()
    );
    api(&server, &user, "DELETE", &path, &json!({})).assert(400, LAST_WAY_IN);
    // One that is bound to another domain does not count.
    add(&server, &mut user, &mut device);
    server
        .db_execute("UPDATE passkeys SET rp_id = 'old.example' WHERE name = 'Phone' AND id <> 'x'");
    server.db_execute(&format!(
        "UPDATE passkeys SET rp_id = 'localhost' WHERE id = '{}'",
        path.split('/').nth(1).unwrap()
    ));
    api(&server, &user, "DELETE", &path, &json!({})).assert(400, LAST_WAY_IN);
    server.db_execute("UPDATE passkeys SET rp_id = 'localhost'");
    assert_eq!(api(&server, &user, "DELETE", &path, &json!({})).status, 204);
    // Two at once do not remove both of two.
    add(&server, &mut user, &mut device);
    let paths: Vec<_> = list(&server, &user)
        .iter()
        .map(|passkey| format!("passkeys/{}/", passkey["id"].as_str().unwrap()))
        .collect();
    let statuses = at_once(2, |n| {
        api(&server, &user, "DELETE", &paths[n], &json!({})).status
    });
    assert!(
        statuses.contains(&204) && statuses.contains(&400),
        "{statuses:?}"
    );
}

#[test]
fn reset_of_factors_takes_the_last_way_in_and_mails_a_reset() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    let (with_password, _) = user_with_passkey(&server, "other@example.com");
    let staff = server.staff("staff@example.com");
    server.db_execute(&format!(
        "UPDATE users SET password_hash = '!' WHERE id = {}",
        user.id
    ));
    let body = json!({"reason": "Lost phone"});
    for id in [user.id, with_password.id] {
        let path = format!("users/{id}/mfa/reset/");
        assert_eq!(api(&server, &staff, "POST", &path, &body).status, 204);
    }
    server.assert_ended(&user);
    sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.db_number("SELECT count(*) FROM passkeys"), 0);
    let otp = server.otp(EMAIL);
    let body = json!({
        "email": EMAIL, "otp": otp, "password": "another-Passw0rd", "confirm_password": "another-Passw0rd",
    });
    let reset = server.post("password/reset/confirm/", &body);
    assert_eq!(reset.status, 200, "{}", reset.body);
    assert_eq!(server.sign_in(EMAIL, "another-Passw0rd").status, 200);
    // Who has a password needs none.
    let mails = server.mails("other@example.com");
    assert!(mails[0].otp.is_none() && mails[0].subject.contains("turned off"));
    assert_eq!(server.sign_in("other@example.com", PASSWORD).status, 200);
}

#[test]
fn mail_about_a_passkey_undoes_it() {
    let server = TestServer::start();
    let (mut user, mut device) = user_with_passkey(&server, EMAIL);
    server.advance_seconds(60);
    add(&server, &mut user, &mut device);
    let link = server.mails(EMAIL)[0]
        .link
        .clone()
        .expect("the mail has a link");
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap();
    let path = format!("email/undo/{token}/");
    // The passkey of before is the owner's, and is asked for; the new one is not enough.
    server
        .post(&path, &json!({}))
        .assert(400, r#"{"code":["This field is required."]}"#);
    let options = begin_sign_in(&server);
    let credential = device.get(&options);
    let body = json!({"credential": credential, "session_id": options["session_id"]});
    server.post(&path, &body).assert(400, INVALID);
    let thief = device.passkeys.pop().unwrap();
    let options = begin_sign_in(&server);
    let credential = device.get(&options);
    let body = json!({"credential": credential, "session_id": options["session_id"]});
    server
        .post(&path, &body)
        .assert(200, r#"{"msg":"Email change undone."}"#);
    server.assert_ended(&user);
    assert_eq!(server.db_number("SELECT count(*) FROM passkeys"), 1);
    assert_eq!(sign_in(&server, &mut device).status, 200);
    device.passkeys = vec![thief];
    sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn undo_takes_the_first_passkey() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    let link = server.mails(EMAIL)[0]
        .link
        .clone()
        .expect("the mail has a link");
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap();
    let undone = server.post(&format!("email/undo/{token}/"), &json!({}));
    assert_eq!(undone.status, 200, "{}", undone.body);
    server.assert_ended(&user);
    sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.db_number("SELECT count(*) FROM recovery_codes"), 0);
    assert!(server.mails(EMAIL).iter().any(|mail| mail.otp.is_some()));
}

#[test]
fn passkeys_of_another_domain_are_left_behind() {
    let server = TestServer::start();
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    server
        .reload(|config| config.passkeys.rp_id = "example.com".into())
        .unwrap();
    assert_eq!(list(&server, &user)[0]["current"], false);
    assert_eq!(begin(&server, &user)["rp"]["id"], "example.com");
    assert_eq!(begin(&server, &user)["excludeCredentials"], json!([]));
    let options = begin_sign_in(&server);
    assert_eq!(options["rpId"], "example.com");
    for rp_id in ["example.com", "localhost"] {
        let options = begin_sign_in(&server);
        let credential = device.get_with(&options, |c| c.rp_id = rp_id.into());
        // Were the authenticator to sign for the new domain, the answer would be accepted: browsers
        // see to it that it does not.
        let status = complete_sign_in(&server, &options, &credential).status;
        assert_eq!(status == 200, rp_id == "example.com");
    }
    // It is a factor still, which recovery codes stand in for.
    let answer = server.sign_in(EMAIL, PASSWORD);
    assert_eq!(answer.json()["methods"], json!(["recovery_code"]));
    begin_second_step(&server, &answer.text("ephemeral_token"))
        .assert(400, r#"{"detail":"MFA is not enabled."}"#);
}

#[test]
fn further_origins_are_settings() {
    let server = TestServer::start();
    let (_, mut device) = user_with_passkey(&server, EMAIL);
    let app = "android:apk-key-hash:FG3pg8VzBlDY7rmVLzT8ZBagg0LmHb6oigSWsj_PROU";
    for origin in ["https://app.example.com", app] {
        device.origin = origin.to_owned();
        sign_in(&server, &mut device).assert(401, UNKNOWN_CREDENTIALS);
    }
    server
        .reload(|config| {
            set(config, "passkeys.origins", &["https://app.example.com"]);
            let fingerprint = "14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5";
            set(config, "passkeys.android_apps", &[&format!("com.example.app={fingerprint}")]);
            set(config, "passkeys.apple_apps", &["ABCDE12345.com.example.app"]);
        })
        .unwrap();
    for origin in ["https://app.example.com", app, ORIGIN] {
        device.origin = origin.to_owned();
        assert_eq!(sign_in(&server, &mut device).status, 200, "{origin}");
    }
    let get = |path: &str| server.request("GET", path, &[], "");
    get("/.well-known/webauthn").assert(
        200,
        r#"{"origins":["http://localhost:8000","https://app.example.com"]}"#,
    );
    get("/.well-known/assetlinks.json").assert(
        200,
        r#"[{"relation":["delegate_permission/common.handle_all_urls","delegate_permission/common.get_login_creds"],"target":{"namespace":"android_app","package_name":"com.example.app","sha256_cert_fingerprints":["14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5"]}}]"#,
    );
    let apple = get("/.well-known/apple-app-site-association");
    apple.assert(
        200,
        r#"{"webcredentials":{"apps":["ABCDE12345.com.example.app"]}}"#,
    );
    assert_eq!(apple.header("content-type"), Some("application/json"));
}

/// Sets a list as the file does.
fn set(config: &mut accounts_server::config::Config, name: &str, items: &[&str]) {
    let file = format!(
        "[{}]\n{} = {items:?}\n",
        name.split_once('.').unwrap().0,
        name.split_once('.').unwrap().1
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, file).unwrap();
    let sources = accounts_server::config::Sources {
        file: Some(path),
        ..accounts_server::config::Sources::default()
    };
    let (read, _) = accounts_server::config::load(&sources).unwrap();
    config.copy_setting(accounts_server::config::setting(name).unwrap(), &read);
}

#[test]
fn well_known_addresses_lead_where_they_should() {
    let server = TestServer::start_with(|config| {
        config.server.public_url = PublicUrl::parse("https://accounts.example.com");
    });
    let get = |path: &str| server.request("GET", path, &[], "");
    get("/.well-known/webauthn").assert(200, r#"{"origins":["https://accounts.example.com"]}"#);
    get("/.well-known/assetlinks.json").assert(404, NOT_FOUND);
    get("/.well-known/apple-app-site-association").assert(404, NOT_FOUND);
    let page = get("/.well-known/change-password");
    assert_eq!(page.status, 302);
    assert_eq!(
        page.header("location"),
        Some("https://accounts.example.com/account/password/")
    );
    let server = TestServer::start_with(|config| config.pages.enabled = false);
    let page = server.request("GET", "/.well-known/change-password", &[], "");
    assert_eq!(page.status, 404);
}

#[test]
fn challenges_and_failures_are_rate_limited() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.passkey_challenges = 8;
        config.rate_limits.failed_sign_ins = 3;
    });
    let (user, mut device) = user_with_passkey(&server, EMAIL);
    for _ in 0..3 {
        let options = begin_sign_in(&server);
        let credential = device.get_with(&options, |c| c.breaks_signature = true);
        complete_sign_in(&server, &options, &credential).assert(401, UNKNOWN_CREDENTIALS);
    }
    let options = begin_sign_in(&server);
    let credential = device.get(&options);
    complete_sign_in(&server, &options, &credential).assert_throttled(300);
    server.sign_in(EMAIL, PASSWORD).assert_throttled(300);
    for _ in 0..3 {
        begin_sign_in(&server);
    }
    server
        .post("passkeys/login/begin/", &json!({}))
        .assert_throttled(300);
    api(
        &server,
        &user,
        "POST",
        "passkeys/register/begin/",
        &json!({}),
    )
    .assert_throttled(300);
}

#[test]
fn required_factor_can_be_a_passkey() {
    let server = TestServer::start_with(|config| {
        config.mfa.required_for = accounts_server::config::FactorRequirement::Everyone;
    });
    let mut user = server.user(EMAIL);
    let setup =
        r#"{"detail":"Set up two-factor authentication first.","code":"mfa_setup_required"}"#;
    server
        .patch("users/me/", &user, &json!({"first_name": "A"}))
        .assert(403, setup);
    assert!(list(&server, &user).is_empty());
    add(&server, &mut user, &mut Authenticator::at(ORIGIN));
    let changed = server.patch("users/me/", &user, &json!({"first_name": "A"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
}

#[test]
fn missing_credential_is_told_by_its_field() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let body = json!({"name": "Phone"});
    api(&server, &user, "POST", "passkeys/register/complete/", &body).assert(400, REQUIRED);
    let body = json!({"session_id": "x"});
    server
        .post("passkeys/login/complete/", &body)
        .assert(400, REQUIRED);
}
