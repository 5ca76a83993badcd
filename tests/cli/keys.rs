//! `keys`: rotates, removes and encrypts the signing keys beside a running server.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Outcome, PASSWORD, Running, create_user, finish, folder, program, run};

const EMAIL: &str = "user@example.com";
const SECRET: &str = "ZHnyxQxbWJtK2pVsLmY0aB8cDdEeFfGg";
const OTHER: &str = "another-secret-of-forty-characters-or-so";

fn keys(dir: &Path, command: &str) -> Outcome {
    run(dir, &["--db", "users.db", "keys", command])
}

/// A command with a key encryption secret in its environment.
fn with_secret(dir: &Path, secret: &str, arguments: &[&str]) -> Command {
    let mut command = program(dir, &[&["--db", "users.db"], arguments].concat());
    command.env("ACCOUNTS_TOKENS_KEY_ENCRYPTION_SECRET", secret);
    command
}

fn list(dir: &Path) -> Vec<Value> {
    let outcome = run(dir, &["--db", "users.db", "keys", "list", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn published(server: &Running) -> Vec<String> {
    let (status, set) = server.request("GET", "/.well-known/jwks.json", None, &json!({}));
    assert_eq!(status, 200);
    set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// The header of a token.
fn header(token: &str) -> Value {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    serde_json::from_slice(&header).unwrap()
}

/// The id of the key that signed a token.
fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

/// The algorithm that signed a token.
fn algorithm(token: &str) -> String {
    header(token)["alg"].as_str().unwrap().to_owned()
}

fn me(server: &Running, token: &str) -> u16 {
    server.api("GET", "users/me/", Some(token), &json!({})).0
}

#[test]
fn a_key_id_may_begin_with_a_hyphen() {
    let dir = folder();
    create_user(dir.path(), EMAIL, &[]);
    for kid in ["-CjG3rpWHy9tkHnQhhTfAkJ", "--jG3rpWHy9tkHnQhhTfAkJ"] {
        run(dir.path(), &["keys", "remove", kid, "--db", "users.db"])
            .assert_refused(1, &[&format!("there is no retired key {kid}")]);
    }
}

#[test]
fn rotation_beside_a_running_server() {
    let dir = folder();
    create_user(dir.path(), EMAIL, &[]);
    let server = Running::start(dir.path());
    let old = server.sign_in(EMAIL);
    let outcome = keys(dir.path(), "rotate");
    let new_kid = outcome.stdout.trim_end().to_owned();
    outcome.assert_done(&format!("{new_kid}\n"));
    assert_eq!(published(&server), [new_kid.clone(), kid(&old)]);
    let new = server.sign_in(EMAIL);
    assert_eq!(kid(&new), new_kid);
    assert_ne!(kid(&old), new_kid);
    assert_eq!((me(&server, &old), me(&server, &new)), (200, 200));

    let listed = list(dir.path());
    assert_eq!(listed[0]["kid"], new_kid);
    assert_eq!(
        (&listed[0]["retired_at"], &listed[1]["kid"]),
        (&Value::Null, &json!(kid(&old)))
    );
    assert_ne!(listed[1]["needed_until"], Value::Null);
    let text = keys(dir.path(), "list");
    assert!(text.stdout.starts_with("KID"), "{text:?}");

    // The active key cannot be removed. A retired key can, and its tokens are invalid.
    run(
        dir.path(),
        &["--db", "users.db", "keys", "remove", &new_kid],
    )
    .assert_refused(1, &["keys rotate"]);
    run(
        dir.path(),
        &["--db", "users.db", "keys", "remove", &kid(&old)],
    )
    .assert_done("");
    assert_eq!(published(&server), [new_kid]);
    assert_eq!((me(&server, &old), me(&server, &new)), (401, 200));
    let (_, pair) = server.post("token/", &json!({"email": EMAIL, "password": PASSWORD}));
    let (status, _) = server.post("token/refresh/", &json!({"refresh": pair["refresh"]}));
    assert_eq!(status, 200);
}

#[test]
fn secrets_are_encrypted_at_rest() {
    let dir = folder();
    create_user(dir.path(), EMAIL, &[]);
    let (server, token) = {
        let server = Running::start(dir.path());
        let token = server.sign_in(EMAIL);
        (server, token)
    };
    server.terminate();
    assert_eq!(list(dir.path())[0]["is_encrypted"], false);
    let plain = secrets(dir.path());

    // The first start with the secret encrypts everything; tokens stay valid.
    let mut command = with_secret(dir.path(), SECRET, &["--passwords-bcrypt-cost", "4"]);
    command.args(["--listen", "127.0.0.1:0"]);
    let server = Running::spawn(command);
    assert_eq!(me(&server, &token), 200);
    assert_eq!(kid(&server.sign_in(EMAIL)), kid(&token));
    let outcome = finish(with_secret(dir.path(), SECRET, &["keys", "rotate"]), "");
    let new_kid = outcome.stdout.trim_end().to_owned();
    assert_eq!(kid(&server.sign_in(EMAIL)), new_kid);
    server.terminate();
    for file in ["users.db", "users.db-wal"] {
        let content = std::fs::read(dir.path().join(file)).unwrap_or_default();
        for secret in &plain {
            assert!(
                !content.windows(secret.len()).any(|window| window == secret),
                "{file} contains a secret"
            );
        }
    }

    // Without the secret, or with another one, commands fail and say what to do.
    keys(dir.path(), "list").assert_refused(
        1,
        &["are encrypted", "ACCOUNTS_TOKENS_KEY_ENCRYPTION_SECRET"],
    );
    finish(with_secret(dir.path(), OTHER, &["keys", "list"]), "")
        .assert_refused(1, &["another secret"]);
    finish(with_secret(dir.path(), "short", &["keys", "list"]), "")
        .assert_refused(2, &["32 characters"]);

    // Another secret, from a file this time, and none again.
    finish(
        with_secret(dir.path(), SECRET, &["keys", "reencrypt"]),
        "short\n",
    )
    .assert_refused(1, &["32 characters"]);
    finish(
        with_secret(dir.path(), SECRET, &["keys", "reencrypt"]),
        &format!("{OTHER}\n"),
    )
    .assert_done("");
    std::fs::write(dir.path().join("secret"), format!("{OTHER}\n")).unwrap();
    let decrypt = run(
        dir.path(),
        &[
            "--db",
            "users.db",
            "--tokens-key-encryption-secret-file",
            "secret",
            "keys",
            "decrypt",
        ],
    );
    decrypt.assert_done("");
    let listed = list(dir.path());
    assert_eq!(
        (&listed[0]["kid"], &listed[0]["is_encrypted"]),
        (&json!(new_kid), &json!(false))
    );
    assert_eq!(listed.len(), 2);
    let server = Running::start(dir.path());
    assert_eq!(me(&server, &token), 200);
    let log = run(
        dir.path(),
        &[
            "--db",
            "users.db",
            "audit",
            "--event",
            "key_encryption_changed",
            "--json",
        ],
    );
    assert_eq!(log.stdout.lines().count(), 3, "{log:?}");
    assert!(!log.stdout.contains(SECRET) && !log.stdout.contains(OTHER));
}

/// The stored secrets.
fn secrets(dir: &Path) -> Vec<Vec<u8>> {
    let connection = rusqlite::Connection::open(dir.join("users.db")).unwrap();
    let mut statement = connection
        .prepare("SELECT private_key FROM signing_keys UNION ALL SELECT value FROM secrets")
        .unwrap();
    let secrets: Vec<Vec<u8>> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // The signing key, and the keys for codes, mails, second factors and webhooks.
    assert_eq!(secrets.len(), 5);
    secrets
}

#[test]
fn a_server_without_the_secret_keeps_its_previous_keys() {
    let dir = folder();
    create_user(dir.path(), EMAIL, &[]);
    let server = Running::start(dir.path());
    let token = server.sign_in(EMAIL);
    let rotated = finish(with_secret(dir.path(), SECRET, &["keys", "rotate"]), "");
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    assert_eq!(kid(&server.sign_in(EMAIL)), kid(&token));
    assert_eq!(me(&server, &token), 200);
    server.wait_for_log("keeping the previous ones");
}

#[test]
fn rotation_changes_the_algorithm_on_request() {
    let dir = folder();
    // As a database of version 0.1 has it.
    create_user(dir.path(), EMAIL, &["--tokens-algorithm", "EdDSA"]);
    let mut command = with_secret(dir.path(), SECRET, &["--passwords-bcrypt-cost", "4"]);
    command.args(["--listen", "127.0.0.1:0"]);
    let server = Running::spawn(command);
    let mut tokens = vec![server.sign_in(EMAIL)];
    for arguments in [
        &["keys", "rotate"][..],
        &["keys", "rotate", "--algorithm", "RS256"],
        &["keys", "rotate", "--algorithm", "ES256"],
    ] {
        let outcome = finish(with_secret(dir.path(), SECRET, arguments), "");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        tokens.push(server.sign_in(EMAIL));
        assert_eq!(kid(&tokens[tokens.len() - 1]), outcome.stdout.trim_end());
    }
    let algorithms: Vec<String> = tokens.iter().map(|token| algorithm(token)).collect();
    assert_eq!(algorithms, ["EdDSA", "EdDSA", "RS256", "ES256"]);
    for token in &tokens {
        assert_eq!(me(&server, token), 200);
    }
    assert_eq!(published(&server).len(), 4);

    // All kinds of keys are encrypted, and can be decrypted.
    let list_json = ["keys", "list", "--json"];
    let listed = finish(with_secret(dir.path(), SECRET, &list_json), "");
    let keys: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let listed: Vec<&Value> = keys.iter().map(|key| &key["algorithm"]).collect();
    assert_eq!(listed, ["ES256", "RS256", "EdDSA", "EdDSA"]);
    assert!(keys.iter().all(|key| key["is_encrypted"] == true));
    finish(with_secret(dir.path(), SECRET, &["keys", "decrypt"]), "").assert_done("");
    server.terminate();
    let server = Running::start(dir.path());
    for token in &tokens {
        assert_eq!(me(&server, token), 200);
    }

    // A conflicting setting would rotate back, and unknown algorithms are refused.
    let rs256 = ["keys", "rotate", "--algorithm", "RS256"];
    let conflict = [
        &["--db", "users.db", "--tokens-algorithm", "ES256"],
        &rs256[..],
    ]
    .concat();
    run(dir.path(), &conflict).assert_refused(1, &["[tokens] algorithm is ES256"]);
    let unknown = ["--db", "users.db", "keys", "rotate", "--algorithm", "HS256"];
    run(dir.path(), &unknown).assert_refused(2, &["HS256", "ES256, EdDSA, RS256"]);
    let unknown = [
        "--db",
        "users.db",
        "--tokens-algorithm",
        "none",
        "keys",
        "list",
    ];
    run(dir.path(), &unknown).assert_refused(2, &["--tokens-algorithm", "ES256"]);
}

#[test]
fn new_databases_sign_with_es256() {
    let dir = folder();
    create_user(dir.path(), EMAIL, &[]);
    let server = Running::start(dir.path());
    assert_eq!(algorithm(&server.sign_in(EMAIL)), "ES256");
}
